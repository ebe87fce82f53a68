-- name: arrival_known
-- Whether anything is known of a message that arrives: an item in its place, a range over it, the same Message-ID. Most
-- are simply new.
select :at where
  exists (select 1 from item_place where mailbox = :mailbox and person = :person and uidvalidity = :uidvalidity and uid = :uid)
  or exists (select 1 from seen_range where mailbox = :mailbox and uidvalidity = :uidvalidity and hi >= :uid and lo <= :uid)
  or exists (select 1 from item where person = :person and message_id = :message_id and message_id <> x'')

-- name: place_read
select p.item, i.state from item_place p join item i on i.seq = p.item
where p.mailbox = :mailbox and p.person = :person and p.uidvalidity = :uidvalidity and p.uid = :uid

-- name: place_write
insert into item_place(person, mailbox, uidvalidity, uid, item, seen, gone)
values (:person, :mailbox, :uidvalidity, :uid, :item, :seen, :gone)
on conflict(mailbox, person, uidvalidity, uid) do nothing

-- name: places_of
select seen, gone from item_place where item = :item

-- name: places_in_range
select uid, item, seen, gone from item_place
where mailbox = :mailbox and person = :person and uidvalidity = :uidvalidity and uid between :lo and :hi and uid > :after
order by uid limit :limit

-- name: places_before_validity
select item from item_place where mailbox = :mailbox and person = :person and uidvalidity <> 0 and uidvalidity < :uidvalidity
and gone = 0 limit :limit

-- name: places_of_mailbox
select item from item_place where mailbox = :mailbox and person = :person and gone = 0 limit :limit

-- name: place_stands
update item_place set seen = :seen, gone = :gone where mailbox = :mailbox and person = :person
and uidvalidity = :uidvalidity and uid = :uid

-- name: places_seen
update item_place set seen = 1 where item = :item

-- name: place_gone
update item_place set gone = 1 where mailbox = :mailbox and person = :person and uidvalidity = :uidvalidity and uid = :uid

-- name: places_gone
update item_place set gone = 1 where item = :item and mailbox = :mailbox

-- name: items_of_message
-- The same Message-ID: open, or young enough to be the other half of a move.
select seq, state, opened, ended, own from item
where person = :person and message_id = :message_id and message_id <> x'' order by seq desc limit 5

-- name: item_write
insert into item(person, event, key, category, thread, message_id, opened, state, cause, ended, digest, own, mailbox_name, summary)
values (:person, :event, :key, :category, :thread, :message_id, :opened, :state, :cause, :ended, :digest, :own, :mailbox_name, :summary)
returning seq

-- name: item_decided
update item set category = :category, digest = max(digest, :digest) where seq = :item

-- name: item_read
select seq, person, event, key, category, thread, message_id, opened, state, cause, ended, digest, mailbox_name, summary
from item where seq = :item

-- name: item_state
update item set state = :state, cause = :cause, ended = :ended where seq = :item and state <> :state returning seq

-- name: items_for_digest
select seq, person, event, key, category, thread, message_id, opened, state, cause, ended, digest, mailbox_name, summary
from item where person = :person and digest = 1 and state = 0 and opened > :after order by seq limit :limit

-- name: item_digested
update item set digest = 2 where seq = :item

-- name: items_not_digested
-- A digest that was not sent: what it listed waits for the next one again.
update item set digest = 1 where digest = 2 and seq in (
  select item from notification_item where notification = :notification)

-- name: item_any_for_digest
select 1 from item where person = :person and digest = 1 and state = 0 limit 1

-- name: items_fetched
-- POP3 fetched what stood in the INBOX before the session began.
select distinct i.seq from item i join item_place p on p.item = i.seq
where p.mailbox = :mailbox and p.person = :person and i.state = 0 and i.opened < :before limit :limit

-- name: ranges_over
select seq, lo, hi, op, cause, actor, modseq, occurred, received from seen_range
where mailbox = :mailbox and uidvalidity = :uidvalidity and hi >= :uid and lo <= :uid

-- name: ranges_open
select seq, uidvalidity, lo, hi from seen_range where mailbox = :mailbox and applied = 0 order by seq limit :limit

-- name: range_applied
update seen_range set applied = 1 where seq = :range

-- name: mailbox_read
-- The last column: whether ranges of it are not yet applied.
select id, store, name, uidvalidity, special, unseen, messages, uidnext, swept, append_since, append_count,
  exists (select 1 from seen_range r where r.mailbox = m.id and r.applied = 0) from mailbox m where id = :id

-- name: mailbox_id
select id, uidvalidity from mailbox where store = :store and owner = :owner and name = :name

-- name: mailbox_swept
update mailbox set swept = :uidvalidity where id = :id

-- name: mailbox_appended
update mailbox set append_since = :since, append_count = :count where id = :id

-- name: mailbox_unseen
select owner, name, unseen from mailbox where owner = :owner and name = :name and deleted = 0

-- name: item_notifications
-- What hangs on an item: waiting, in a sender's hands, or ended within the week where a phone may show it. An attempt
-- without a receipt that says otherwise may have been shown.
select n.seq, n.id, n.state, n.medium, n.target,
  exists(select 1 from notification_item l join item i on i.seq = l.item where l.notification = n.seq and i.state = 0),
  n.state in (3, 7) or n.attempt > (select count(*) from receipt r where r.notification = n.seq
    and r.outcome not in ('unknown_outcome', 'lapsed')),
  n.repeats
from notification_item k join notification n on n.seq = k.notification
where k.item = :item and (n.state in (0, 1, 2) or (n.state <> 6 and n.medium = 'push' and n.ended > :shown_since))

-- name: flood_items
-- Interruptions of the appends of the last minute, whose grace may still be running.
select i.seq from item i join item_place p on p.item = i.seq
where p.mailbox = :mailbox and p.person = :person and i.own = 1 and i.opened > :since limit :limit

-- name: item_uncertain_places
-- Places a range nobody has applied yet covers.
select p.mailbox, p.uidvalidity, p.uid from item_place p where p.item = :item and exists (
  select 1 from seen_range r where r.applied = 0 and r.mailbox = p.mailbox and r.uidvalidity = p.uidvalidity
  and r.hi >= p.uid and r.lo <= p.uid)

-- name: item_of_event
-- Found through what waits for it, or else through the history: only such events are planned again.
select i.seq, i.person, i.event, i.key, i.category, i.thread, i.message_id, i.opened, i.state, i.cause, i.ended, i.digest,
  i.mailbox_name, i.summary
from decision d join item i on i.seq = d.item where d.id = :decision and d.item <> 0 and i.event = :event
