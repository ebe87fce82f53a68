-- name: purge_event_key
delete from event_key where rowid in (select rowid from event_key where until <= :now limit :limit) returning 1

-- name: purge_journal_text
-- Texts live a day, and as long as a row of that event waits.
update journal set body = x'' where seq in (
  select seq from journal j where j.seq > :after and j.received <= :before and body <> x''
  and not exists (select 1 from inbox i where i.journal = j.seq)
  and not exists (select 1 from notification n where n.event = j.seq and n.state in (0, 1, 2))
  and not exists (select 1 from item i join notification_item l on l.item = i.seq join notification n on n.seq = l.notification
    where i.event = j.seq and n.state in (0, 1, 2))
  order by seq limit :limit) returning 1

-- name: purge_journal
delete from journal where seq in (
  select seq from journal j where j.received <= :before and body = x''
  and not exists (select 1 from inbox i where i.journal = j.seq) order by seq limit :limit) returning 1

-- name: purge_seen_range
delete from seen_range where seq in (select seq from seen_range where received <= :before order by seq limit :limit) returning 1

-- name: purge_item
delete from item where seq in (
  select seq from item where (state <> 0 and ended <= :ended_before) or opened <= :opened_before limit :limit) returning seq

-- name: purge_item_place
delete from item_place where item = :item

-- name: purge_item_link
delete from notification_item where item = :item

-- name: purge_notification
delete from notification where seq in (
  select seq from notification where ended > 0 and ended <= :before and state <> 7 limit :limit) returning seq

-- name: purge_notification_link
delete from notification_item where notification = :notification

-- name: purge_receipt
delete from receipt where notification = :notification

-- name: purge_decision
delete from decision where seq in (select seq from decision where at <= :before order by seq limit :limit) returning 1

-- name: purge_digest_slot
delete from digest_slot where rowid in (select rowid from digest_slot where due <= :before limit :limit) returning 1

-- name: purge_provider_ref
delete from provider_ref where rowid in (select rowid from provider_ref where at <= :before limit :limit) returning 1

-- name: purge_sign_in
delete from sign_in where rowid in (select rowid from sign_in where max(first, told) <= :before limit :limit) returning 1

-- name: purge_counter
delete from counter where rowid in (select rowid from counter where bucket <= :before limit :limit) returning 1

-- name: purge_dead
delete from dead where rowid in (select rowid from dead where at <= :before limit :limit) returning 1

-- name: purge_old_name
delete from mailbox_old_name where until <= :now

-- name: purge_erasure
delete from erasure where until <= :now

-- name: purge_device
-- 270 days without a registration or a success: the app is gone (FCM expires its tokens then).
select id from device where max(registered, last_ok) <= :before limit :limit
