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
select seq, received, owner, body <> x'' from journal where seq > :after order by seq limit :limit

-- name: journal_waits
-- Undecided, or told by a notification that waits, alone or with others.
select :journal where exists (select 1 from inbox i where i.person = :owner and i.journal = :journal)
  or exists (select 1 from notification n where n.person = :owner and n.state in (0, 1, 2) and (n.event = :journal
    or exists (select 1 from notification_item l join item i on i.seq = l.item
      where l.notification = n.seq and i.event = :journal)))

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
select rowid, max(first, told) from sign_in where rowid > :after order by rowid limit :limit

-- name: purge_sign_in
delete from sign_in where rowid = :row returning 1

-- name: walk_counter
select rowid, bucket from counter where rowid > :after order by rowid limit :limit

-- name: purge_counter
delete from counter where rowid = :row returning 1

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
