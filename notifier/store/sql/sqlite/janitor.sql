-- Each table is walked by its row numbers: (row, age in microseconds since 1970, …), the oldest first.

-- name: walk_event_key
select rowid, until from event_key where rowid > :after order by rowid limit :limit

-- name: purge_event_key
delete from event_key where rowid = :row returning 1

-- name: walk_journal
select seq, received from journal where seq > :after order by seq limit :limit

-- name: purge_journal
-- Not while its event is undecided.
delete from journal where seq = :row and not exists (
  select 1 from inbox i where i.person = journal.owner and i.journal = journal.seq) returning 1

-- name: walk_journal_text
select seq, received, owner, body <> x'', key from journal where seq > :after order by seq limit :limit

-- name: journal_waits
-- Undecided, or told by a notification that waits: one that stands for its message, or (quota, sign-ins) one that the
-- decision names. By what hangs on the event, never through all that waits for its person.
select :journal where exists (select 1 from inbox i where i.person = :owner and i.journal = :journal)
  or exists (select 1 from decision d join notification_item l on l.item = d.item join notification n on n.seq = l.notification
    where d.id = :decision and d.item <> 0 and n.state in (0, 1, 2))
  or exists (with recursive p(at) as (select 1 union all select at + 16 from p where at < 4096)
    select 1 from decision d join p on p.at < length(d.deliveries)
    join notification n on n.id = substr(d.deliveries, p.at, 16) where d.id = :decision and n.state in (0, 1, 2))

-- name: purge_journal_text
update journal set body = x'' where seq = :row returning 1

-- name: walk_seen_range
select seq, received from seen_range where seq > :after order by seq limit :limit

-- name: purge_seen_range
delete from seen_range where seq = :row returning 1

-- name: walk_decision
select seq, at from decision where seq > :after order by seq limit :limit

-- name: purge_decision
delete from decision where seq = :row returning 1

-- name: walk_provider_ref
select rowid, at from provider_ref where rowid > :after order by rowid limit :limit

-- name: purge_provider_ref
delete from provider_ref where rowid = :row returning 1

-- name: walk_sign_in
select rowid, seen from sign_in where rowid > :after order by rowid limit :limit

-- name: purge_sign_in
delete from sign_in where rowid = :row returning 1

-- name: walk_counter
select rowid, bucket from counter where rowid > :after order by rowid limit :limit

-- name: purge_counter
delete from counter where rowid = :row returning 1

-- name: walk_mailbox
-- One that exists has no age.
select id, case when deleted > 0 then deleted else 9223372036854775807 end from mailbox where id > :after order by id limit :limit

-- name: purge_mailbox
-- Not while anything hangs on it (its owner's badge, too), nor if there is one of that name again. Events and old names do
-- not: they find it by its name, or find none.
delete from mailbox where id = :row and deleted > 0 and counts = 0
  and not exists (select 1 from item_place p where p.mailbox = mailbox.id)
  and not exists (select 1 from seen_range r where r.mailbox = mailbox.id) returning 1

-- name: items_ended
select seq from item where state <> 0 and ended <= :before limit :limit

-- name: walk_item
select seq, opened from item where seq > :after order by seq limit :limit

-- name: purge_item
delete from item where seq = :item

-- name: purge_item_place
delete from item_place where item = :item

-- name: purge_item_link
delete from notification_item where item = :item

-- name: walk_notification
-- What nobody knows the fate of (7) stays until somebody says.
select seq, created, case when state = 7 then 0 else ended end from notification where seq > :after order by seq limit :limit

-- name: purge_notification
delete from notification where seq = :notification

-- name: purge_notification_link
delete from notification_item where notification = :notification

-- name: purge_receipt
delete from receipt where notification = :notification

-- name: purge_digest_slot
delete from digest_slot where rowid in (select rowid from digest_slot where due <= :before limit :limit) returning 1

-- name: purge_dead
delete from dead where rowid in (select rowid from dead where at <= :before limit :limit) returning 1

-- name: purge_old_name
delete from mailbox_old_name where until <= :now

-- name: purge_erasure
delete from erasure where until <= :now

-- name: walk_device
-- 270 days without a registration or a success: the app is gone (FCM expires its tokens then).
select rowid, max(registered, last_ok), id from device where rowid > :after order by rowid limit :limit
