-- name: history_page
-- One person's history, newest first: decision_person serves it.
select seq, id, journal, item, name, category, at, verdict, deliveries from decision
where person = :person and seq < :before order by seq desc limit :limit

-- name: history_one
-- Another person's id is nobody's.
select seq, id, journal, item, name, category, at, verdict, deliveries from decision where id = :id and person = :person

-- name: history_notification
-- In the order queue.queued reads, then when it ended.
select seq, id, person, event, kind, category, medium, route, target, collapse, state, next_at, attempt, expires_at,
  urgency, privacy, rev, layer_rev, params, created, repeats, retracted, cause, frozen, ended
from notification where id = :id

-- name: history_digest
-- The newest digest that listed an item.
select n.state, n.ended from notification_item l join notification n on n.seq = l.notification
where l.item = :item and n.kind = 'digest' order by n.seq desc limit 1

-- name: history_link
-- Whether a notification stands, or stood, for a message.
select 1 from notification_item where notification = :notification and item = :item

-- name: history_notices
-- An event's lines for the digest that are about no message, with the columns of `item_read`: item_message serves it.
select seq, person, event, key, category, thread, message_id, opened, state, cause, ended, digest, mailbox_name, summary
from item where person = :person and message_id <> x'' and event = :journal and category in (
  'quota.warning', 'quota.exceeded', 'quota.ok', 'security.login') limit :limit

-- name: history_waiting
-- What of a person is still to come, found as by `notification_walk`: nothing of what lies beyond the limit is read.
select seq, id, person, event, kind, category, medium, route, target, collapse, state, next_at, attempt, expires_at,
  urgency, privacy, rev, layer_rev, params, created, repeats, retracted, cause, frozen, ended
from notification where person = :person and state in (0, 1, 2) and state = 0 and seq > 0
union all select seq, id, person, event, kind, category, medium, route, target, collapse, state, next_at, attempt, expires_at,
  urgency, privacy, rev, layer_rev, params, created, repeats, retracted, cause, frozen, ended
from notification where person = :person and state in (0, 1, 2) and state = 1 and seq > 0
union all select seq, id, person, event, kind, category, medium, route, target, collapse, state, next_at, attempt, expires_at,
  urgency, privacy, rev, layer_rev, params, created, repeats, retracted, cause, frozen, ended
from notification where person = :person and state in (0, 1, 2) and state = 2 and seq > 0
order by seq limit :limit

-- name: history_receipts
select attempt, at, outcome, code from receipt where notification = :notification order by seq limit :limit

-- name: history_journal
-- The journal as received, newest first.
select seq, owner, source, store, dialect, name, received, body from journal where seq < :before order by seq desc limit :limit

-- name: history_journal_of
-- The same for one owner: journal_owner serves it.
select seq, owner, source, store, dialect, name, received, body from journal
where owner = :owner and seq < :before order by seq desc limit :limit

-- name: history_items
-- A person's items by the mailboxes he owns: item has no index of its own for it.
select distinct i.seq, i.person, i.event, i.key, i.category, i.thread, i.message_id, i.opened, i.state, i.cause, i.ended,
  i.digest, i.mailbox_name, i.summary
from mailbox m join item_place p on p.mailbox = m.id and p.person = :person join item i on i.seq = p.item
where m.owner = :person and i.event <> 0 and i.seq > :after order by i.seq limit :limit

-- name: history_sign_ins
select network, service, first, told, seen from sign_in where person = :person order by first limit :limit

-- name: letter_page
-- Dead letters (6), or what nobody knows the fate of (7): notification_letter serves both.
select seq, id, person, event, kind, category, medium, route, target, collapse, state, next_at, attempt, expires_at,
  urgency, privacy, rev, layer_rev, params, created, repeats, retracted, cause, frozen, ended
from notification where state = :state and seq < :before and state in (6, 7) order by seq desc limit :limit

-- name: letter_events
-- Events nobody could decide, with whether their bytes are still there.
select d.seq, d.journal, d.person, d.error, d.at, coalesce(j.name, ''), coalesce(length(j.body), 0) > 0
from dead d left join journal j on j.seq = d.journal where d.seq < :before order by d.seq desc limit :limit

-- name: letter_replay
-- Back into the queue under the same id; its attempts stay counted, and the last check looks at it anew. A code is gone
-- once its row has ended: who still needs one asks for another.
update notification set state = 0, next_at = :now, ended = 0, retracted = 0, cause = ''
where id = :id and state = 6 and kind <> 'code' returning seq

-- name: letter_event_replay
-- Only while the bytes are there: without them there is nothing to decide on.
delete from dead where seq = :seq and exists (select 1 from journal j where j.seq = journal and length(j.body) > 0)
returning journal, person

-- name: letter_resolve
update notification set state = :state, cause = :cause, ended = :now where id = :id and state = 7 returning seq, attempt

-- name: letter_told
-- By the provider's word: one whose fate is unknown, or whose hand-over has no answer yet, ends. The word is about this
-- attempt and no other, so an earlier one's late report never speaks for the one under way.
update notification set state = :state, next_at = 0, ended = :now, frozen = x'', params = case kind when 'code' then '{}' else params end,
  reference = case when :reference <> '' then :reference else reference end
where id = :id and attempt = :attempt and (state = 7 or (state = 2 and :named)) returning seq

-- name: letter_reference
select notification from provider_ref where provider = :provider and reference = :reference

-- name: letter_receipt
-- A provider repeats itself; each word is kept once an attempt.
insert into receipt(notification, attempt, at, outcome, code)
select :notification, :attempt, :at, :outcome, :code where not exists (select 1 from receipt
  where notification = :notification and attempt = :attempt and outcome = :outcome and code = :code)

-- name: contact_holders
-- Other accounts that have verified this number or address.
select person from contact where kind = :kind and value = :value and id <> :id and state = 'verified'

-- name: erase_devices
delete from binding where person = :person returning device

-- name: erase_undo
-- What a device nobody is bound to any more was to be told.
delete from undo where device = :device and not exists (select 1 from device d where d.id = :device)

-- name: erase_contacts
delete from contact where person = :person returning 1

-- name: erase_inbox
delete from inbox where person = :person

-- name: erase_waiting
-- What waits is cancelled, what is in a sender's hands is marked, and neither keeps a text.
update notification set state = case when state = 0 then 4 else state end, retracted = 1, cause = 'operator',
  ended = case when state = 0 then :now else ended end, params = '{}', frozen = case when state = 0 then x'' else frozen end
where person = :person and state in (0, 1, 2)

-- name: erase_decisions
delete from decision where seq in (select seq from decision where person = :person order by seq limit :limit)
returning deliveries, item

-- name: erase_notification
-- Only what has ended: the rest is its sender's until it settles.
delete from notification where id = :id and state > 2 returning seq

-- name: erase_items
delete from item where seq in (select i.seq from mailbox m join item_place p on p.mailbox = m.id and p.person = :person
  join item i on i.seq = p.item where m.owner = :person limit :limit) returning seq

-- name: erase_notices
-- What stands in no mailbox: quota news and sign-ins for the digest. item_message serves it.
delete from item where seq in (
  select seq from item where person = :person and message_id <> x'' limit :limit) returning seq

-- name: erase_item
-- One whose mailbox is gone, by its decision.
delete from item where seq = :item and person = :person returning seq

-- name: erase_links
select n.id from notification_item l join notification n on n.seq = l.notification
where l.item = :item and n.person = :person and n.state > 2

-- name: erase_places
-- Places whose item is gone already; without this they would be found again and again.
delete from item_place where rowid in (select p.rowid from mailbox m join item_place p on p.mailbox = m.id
  where m.owner = :person and not exists (select 1 from item i where i.seq = p.item) limit :limit) returning 1

-- name: erase_journal
delete from journal where seq in (select seq from journal where owner = :person order by seq limit :limit) returning 1

-- name: erase_ranges
delete from seen_range where seq in (select r.seq from mailbox m join seen_range r on r.mailbox = m.id
  where m.owner = :person limit :limit) returning 1

-- name: erase_mailboxes
delete from mailbox where owner = :person

-- name: erase_quota
delete from quota_state where owner = :person

-- name: erase_sign_ins
delete from sign_in where person = :person

-- name: erase_counters
delete from counter where person = :person

-- name: erase_slots
delete from digest_slot where person = :person

-- name: erase_dead
-- The table holds what three tries could not decide within a week: a handful.
delete from dead where person = :person
