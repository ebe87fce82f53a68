-- name: arrival_known
-- Whether anything is known of a message that arrives: an item in its place, a range over it, the same Message-ID. Most
-- are simply new.
select :at where
  exists (select 1 from item_place where mailbox = :mailbox and person = :person and uidvalidity = :uidvalidity and uid = :uid)
  or exists (select 1 from seen_range where mailbox = :mailbox and uidvalidity = :uidvalidity and hi >= :uid and lo <= :uid)
  or exists (select 1 from item where person = :person and message_id = :message_id and message_id <> x'')

-- name: place_read
select p.item, i.event <> 0 from item_place p join item i on i.seq = p.item
where p.mailbox = :mailbox and p.person = :person and p.uidvalidity = :uidvalidity and p.uid = :uid

-- name: place_write
-- One that is known already is as it was, but for what its message's own report says of \Seen where nothing did.
insert into item_place(person, mailbox, uidvalidity, uid, item, seen, gone)
values (:person, :mailbox, :uidvalidity, :uid, :item, :seen, :gone)
on conflict(mailbox, person, uidvalidity, uid) do update set seen = excluded.seen
where seen = 0 and excluded.seen <> 0 and item = excluded.item

-- name: place_known_by_uid
-- Where an item has a UID in that mailbox, what stands for it without one is no place of its own. 4294967295: UID_MAX.
update item_place set gone = 1 where item = :item and mailbox = :mailbox and uid > 4294967295 and gone <> 1 and exists (
  select 1 from item_place q where q.item = :item and q.mailbox = :mailbox and q.uid <= 4294967295)

-- name: places_of
-- In the order they became known.
select seen, gone from item_place where item = :item order by rowid

-- name: places_to_weigh
-- Those that a range may change: what sets \Seen, those where it is not set, and so on. Of the ops of `RangeOp`, in their order.
select uid, item, seen, gone from item_place
where mailbox = :mailbox and person = :person and uidvalidity = :uidvalidity and uid between :lo and :hi
and case :op when 0 then seen <> 1 when 1 then gone <> 1 when 2 then seen <> 2 else gone <> 0 end
order by uid limit :limit

-- name: places_without_uid
-- Those that counts reach: of what was reported before these held. 4294967295: UID_MAX; the ops as in places_to_weigh.
select p.uid, p.item, p.seen, p.gone from item_place p join item i on i.seq = p.item
where p.mailbox = :mailbox and p.person = :person and p.uidvalidity = 0 and p.uid > 4294967295 and p.gone <> 1
and i.opened <= :until and (:op <> 0 or p.seen <> 1) limit :limit

-- name: places_before_validity
-- Where the one before is known (`swept`), those without one too, if they were reported well before.
select p.item from item_place p where p.mailbox = :mailbox and p.person = :person and p.uidvalidity < :uidvalidity
and p.gone = 0 and (p.uidvalidity <> 0
  or :swept > 0 and exists (select 1 from item i where i.seq = p.item and i.opened < :before)) limit :limit

-- name: places_of_mailbox
-- Of what was reported before that event: there may be a mailbox of that name again.
select p.item from item_place p join item i on i.seq = p.item
where p.mailbox = :mailbox and p.person = :person and p.gone = 0 and i.event < :event limit :limit

-- name: places_moving
-- Of a copy's or move's old UIDs, those that are not yet done: the item does not stand at the new UID, or still does at the
-- old one; or only the new one is known. Two that were both reported by themselves stay two.
select p.uid from item_place p where p.mailbox = :source and p.person = :person and p.uidvalidity = :before
  and p.uid between :lo and :hi and (:moved and p.gone <> 1 or not exists (
    select 1 from item_place q where q.mailbox = :mailbox and q.person = :person and q.uidvalidity = :after
    and q.uid = p.uid + :by and (q.item = p.item or not exists (
      select 1 from item i where i.seq in (p.item, q.item) and i.event = 0))))
union all
select q.uid - :by from item_place q where q.mailbox = :mailbox and q.person = :person and q.uidvalidity = :after
  and q.uid between :lo + :by and :hi + :by and not exists (
    select 1 from item_place p where p.mailbox = :source and p.person = :person and p.uidvalidity = :before
    and p.uid = q.uid - :by)
limit :limit

-- name: places_known
-- Which of these UIDs are places of an item.
select uid from item_place where mailbox = :mailbox and person = :person and uidvalidity = :uidvalidity
and uid between :lo and :hi limit :limit

-- name: place_stands
update item_place set seen = :seen, gone = :gone where mailbox = :mailbox and person = :person
and uidvalidity = :uidvalidity and uid = :uid

-- name: places_met
-- The same places under both names of a renamed mailbox, with the item of each.
select f.person, f.uidvalidity, f.uid, f.item, t.item from item_place f join item_place t
  on t.mailbox = :into and t.person = f.person and t.uidvalidity = f.uidvalidity and t.uid = f.uid
where f.mailbox = :from limit :limit

-- name: place_forget
delete from item_place where mailbox = :mailbox and person = :person and uidvalidity = :uidvalidity and uid = :uid

-- name: ranges_again
update seen_range set applied = 0 where mailbox = :mailbox

-- name: item_collapse
-- What waits for this message alone: it is told as another's. A digest keeps it. Of a mail that was to be repeated nobody
-- knows whether it arrived.
update notification set state = case when medium = 'email' and repeats > 0 then 7 else 4 end, cause = 'collapsed', ended = :now
where state = 0 and kind <> 'digest' and seq in (select notification from notification_item where item = :item)
and not exists (
  select 1 from notification_item o join item i on i.seq = o.item
  where o.notification = notification.seq and o.item <> :item and i.state = 0
    and not exists (select 1 from told t where t.notification = o.notification and t.item = o.item))

-- name: links_join
insert or ignore into notification_item(notification, item)
select notification, :into from notification_item where item = :item

-- name: item_digest_join
update item set digest = max(digest, coalesce((select f.digest from item f where f.seq = :item), 0)) where seq = :into

-- name: places_seen
update item_place set seen = 1 where item = :item

-- name: place_gone
update item_place set gone = 1 where mailbox = :mailbox and person = :person and uidvalidity = :uidvalidity and uid = :uid

-- name: places_gone
update item_place set gone = 1 where item = :item and mailbox = :mailbox

-- name: items_of_message
-- The same Message-ID: open, or young enough to be the other half of a move.
select seq, state, opened, ended, own, event <> 0 from item
where person = :person and message_id = :message_id and message_id <> x'' order by seq desc limit 5

-- name: item_write
insert into item(person, event, key, category, thread, message_id, opened, state, cause, ended, digest, own, mailbox_name, summary)
values (:person, :event, :key, :category, :thread, :message_id, :opened, :state, :cause, :ended, :digest, :own, :mailbox_name, :summary)
returning seq

-- name: item_announce
-- What only a copy or a move, or its owner's own act, had told of (event 0, own) is reported itself.
update item set event = :event, key = :key, category = :category, thread = :thread, opened = :opened, own = :own,
  message_id = case when :message_id <> x'' then :message_id else message_id end,
  mailbox_name = :mailbox_name, summary = :summary, digest = max(digest, :digest) where seq = :item

-- name: item_forget
delete from item where seq = :item

-- name: places_join
update item_place set item = :into where item = :item

-- name: item_decided
-- What has stood in a digest does not stand in the next one.
update item set category = :category, digest = case when digest = 2 then 2 else :digest end where seq = :item

-- name: item_read
select seq, person, event, key, category, thread, message_id, opened, state, cause, ended, digest, mailbox_name, summary
from item where seq = :item

-- name: item_state
update item set state = :state, cause = :cause, ended = :ended where seq = :item and state <> :state returning seq

-- name: item_discarded
-- Gone already, when it turned out where it went.
update item set cause = :cause where seq = :item and state = 2 and cause <> :cause

-- name: items_for_digest
-- Each with the name its mailbox has now: of the first place where it still stands.
select seq, person, event, key, category, thread, message_id, opened, state, cause, ended, digest,
  coalesce((select m.name from item_place p join mailbox m on m.id = p.mailbox where p.item = item.seq and p.gone = 0
    order by p.rowid limit 1), mailbox_name), summary
from item where person = :person and digest = 1 and state = 0 and seq > :after order by seq limit :limit

-- name: item_digested
update item set digest = 2 where seq = :item

-- name: notices_of
-- Open ones about the same resource: `group` is where a message's Message-ID would be.
select seq, event, category from item
where person = :person and message_id = :group and message_id <> x'' and state = 0 limit 50

-- name: notices_walk
-- Those that stand in the next digest, in their order. `category in` is how SQLite recognises the partial index.
select seq, event from item where person = :person and digest = 1 and state = 0 and seq > :after
and category in ('quota.warning', 'quota.exceeded', 'quota.ok', 'security.login') order by seq limit :limit

-- name: item_left_out
-- Its wishes want it in no digest any more.
update item set digest = 0 where seq = :item and digest = 1

-- name: items_not_digested
-- A digest that was not sent: what it listed waits for the next one again.
update item set digest = 1 where digest = 2 and seq in (
  select item from notification_item where notification = :notification)

-- name: item_any_for_digest
select 1 from item where person = :person and digest = 1 and state = 0 limit 1

-- name: items_fetched
-- POP3 fetched what stood in the INBOX before the session began.
select distinct i.seq from item i join item_place p on p.item = i.seq
where p.mailbox = :mailbox and p.person = :person and p.gone = 0 and i.state = 0 and i.opened < :before limit :limit

-- name: ranges_over
select seq, lo, hi, op, cause, actor, modseq, occurred, received from seen_range
where mailbox = :mailbox and uidvalidity = :uidvalidity and hi >= :uid and lo <= :uid

-- name: ranges_open
-- The last column: when counts held, by both clocks; 0 of any other range.
select seq, uidvalidity, max(lo, reached + 1), hi, op, case cause when 'counts' then min(occurred, received) else 0 end
from seen_range
where mailbox = :mailbox and applied = 0 order by seq limit :limit

-- name: range_applied
update seen_range set applied = 1, reached = 0 where seq = :range

-- name: range_reached
-- Applied so far: it goes on there.
update seen_range set reached = :reached where seq = :range

-- name: mailbox_read
-- The last column: whether ranges of it are not yet applied.
select id, store, name, uidvalidity, special, unseen, messages, uidnext, swept, appended, created, renewed,
  deleted, former,
  exists (select 1 from seen_range r where r.mailbox = m.id and r.applied = 0) from mailbox m where id = :id

-- name: mailbox_id
select id, uidvalidity, special from mailbox where store = :store and owner = :owner and name = :name

-- name: mailbox_swept
update mailbox set swept = :uidvalidity where id = :id

-- name: mailbox_appended
update mailbox set appended = :appended where id = :id

-- name: mailbox_owned
-- Whose the INBOX is: by all that was reported until then.
update mailbox set created = case when created <= :until then 0 else created end,
  renewed = case when renewed <= :until then 0 else renewed end where id = :id

-- name: mailbox_unseen
-- Of each store that has one; in one that is deleted nothing is unread. The last: whether that is to be remembered.
select owner, name, case when deleted > 0 then 0 else unseen end, id, deleted > 0 and counts = 0
from mailbox where owner = :owner and name = :name

-- name: mailbox_counts
update mailbox set counts = 1 where id = :id

-- name: item_notifications
-- What hangs on an item: waiting, in a sender's hands, or ended within the week where a phone may show it. That may also be
-- a dead letter: it was taken, and only our own side failed.
select n.seq, n.state from notification_item k join notification n on n.seq = k.notification
where k.item = :item and (n.state in (0, 1, 2) or (n.medium = 'push' and n.ended > :shown_since))

-- name: item_interruptions
-- What is to tell of this item and of nothing else: waiting, or in a sender's hands. A digest interrupts nobody.
select n.seq, n.state from notification_item k join notification n on n.seq = k.notification
where k.item = :item and n.state in (0, 1, 2) and n.kind <> 'digest' and not exists (
  select 1 from notification_item o join item i on i.seq = o.item
  where o.notification = n.seq and o.item <> :item and i.state = 0
    and not exists (select 1 from told t where t.notification = o.notification and t.item = o.item))

-- name: flood_items
-- Appends of the last minute, whose grace may still be running: among the last places, and those without a UID.
select i.seq from (
  select p.item from (select item from item_place where mailbox = :mailbox and person = :person and uidvalidity <> 0
    order by uidvalidity desc, uid desc limit :last) p
  union all
  select item from item_place where mailbox = :mailbox and person = :person and uidvalidity = 0) f
join item i on i.seq = f.item where i.own = 1 and i.opened >= :since limit :limit

-- name: item_places
-- In the order they became known; each as it stands, and whether a range nobody has applied yet covers it.
select p.mailbox, p.uidvalidity, p.uid, p.seen, p.gone, exists (select 1 from seen_range r where r.applied = 0
  and r.mailbox = p.mailbox and r.uidvalidity = p.uidvalidity and r.hi >= p.uid and r.lo <= p.uid)
from item_place p where p.item = :item order by p.rowid

-- name: item_of_event
-- Found through what waits for it, or else through the history: only such events are planned again.
select i.seq, i.person, i.event, i.key, i.category, i.thread, i.message_id, i.opened, i.state, i.cause, i.ended, i.digest,
  i.mailbox_name, i.summary
from decision d join item i on i.seq = d.item where d.id = :decision and d.item <> 0 and i.event = :event
