-- name: notification_write
insert into notification(id, person, event, kind, category, medium, route, target, collapse, state, next_at, attempt,
  expires_at, urgency, privacy, rev, layer_rev, params, created)
values (:id, :person, :event, :kind, :category, :medium, :route, :target, :collapse, :state, :next_at, :attempt,
  :expires_at, :urgency, :privacy, :rev, :layer_rev, :params, :created)
on conflict(id) do nothing returning seq, id

-- name: notification_replan
-- A row of the same id is planned again in place while it is available; an ended one is never revived.
-- `created` is when it was planned last.
update notification set next_at = :next_at, expires_at = :expires_at, urgency = :urgency, privacy = :privacy, rev = :rev,
  layer_rev = :layer_rev, route = :route, category = :category, created = :created where id = :id and state = 0

-- name: notification_link
insert into notification_item(notification, item) values (:notification, :item) on conflict do nothing

-- name: notification_supersede
-- A newer push of the same collapse group on the same device carries what those waiting stood for.
insert or ignore into notification_item(notification, item)
select :notification, l.item from notification_item l join notification n on n.seq = l.notification
where n.target = :target and n.collapse = :collapse and n.collapse <> x'' and n.state = 0 and n.seq < :notification

-- name: notification_superseded
update notification set state = 4, cause = 'superseded', ended = :now
where target = :target and collapse = :collapse and collapse <> x'' and state = 0 and seq < :notification

-- name: notification_cancel
update notification set state = 4, cause = :cause, ended = :now where seq = :seq and state = 0 returning seq

-- name: notification_retract
update notification set retracted = 1, cause = :cause where seq = :seq and state in (1, 2)

-- name: notification_waiting
select seq, id, person, event, kind, category, medium, route, target, collapse, state, next_at, attempt, expires_at,
  urgency, privacy, rev, layer_rev, params, created, repeats, retracted, cause, frozen
from notification where person = :person and state in (0, 1, 2)

-- name: notification_bump
-- What no wish plans (tests, codes, notices) only follows the revision.
update notification set rev = :rev, layer_rev = :layer_rev where seq = :seq and state = 0

-- name: notification_read
select seq, id, person, event, kind, category, medium, route, target, collapse, state, next_at, attempt, expires_at,
  urgency, privacy, rev, layer_rev, params, created, repeats, retracted, cause, frozen
from notification where seq = :seq

-- name: notification_open_count
select count(*) from notification_item l join item i on i.seq = l.item where l.notification = :notification and i.state = 0

-- name: notification_events
-- Events that still wait: those of open items, and those without an item (quota, sign-in).
select i.event from notification_item l join item i on i.seq = l.item
join notification n on n.seq = l.notification
where n.person = :person and n.state in (0, 1, 2) and i.state = 0 and i.event > :after
union
select n.event from notification n where n.person = :person and n.state in (0, 1, 2) and n.event > :after
and not exists (select 1 from notification_item l where l.notification = n.seq)
order by 1 limit :limit

-- name: notification_heir
-- What waits in the place of one that was superseded.
select w.id from notification n join notification w on w.target = n.target and w.collapse = n.collapse and w.state = 0
where n.id = :id and n.state = 4 and n.cause = 'superseded' and n.collapse <> x'' and w.collapse <> x''

-- name: queue_claim
-- `in (0, 1, 2)` is how SQLite recognises the partial index.
update notification set attempt = attempt + 1, state = 1, next_at = :lease where seq in (
  select seq from notification where route = :route and state in (0, 1, 2) and state <> 2 and next_at <= :now
  order by next_at limit :limit)
returning seq, id, person, event, kind, category, medium, route, target, collapse, state, next_at, attempt, expires_at,
  urgency, privacy, rev, layer_rev, params, created, repeats, retracted, cause, frozen

-- name: queue_lapsed
-- Handing over when its lease ended: nobody knows how far it came.
select seq, id, person, event, kind, category, medium, route, target, collapse, state, next_at, attempt, expires_at,
  urgency, privacy, rev, layer_rev, params, created, repeats, retracted, cause, frozen
from notification where route = :route and state = 2 and next_at <= :now limit :limit

-- name: queue_lapse_all
-- The lock on the file proves that nobody else lives: all leases end. Only what waits is looked at, not the history.
update notification set next_at = 0 where seq in (
  select seq from notification where state in (0, 1, 2) and state in (1, 2))

-- name: queue_check
-- Still this attempt's, still in its lease, not retracted, and planned under the revisions that hold now; then the number
-- for the badge: unknown (-1) if one of the accounts bound to the device is.
select n.seq, n.retracted, n.rev = p.rev and n.layer_rev = :layer_rev, p.rev, coalesce(
  (select case when min(b.unseen) < 0 then -1 else sum(b.unseen) end from binding b where b.device = n.target), -1)
from notification n join person p on p.id = n.person
where n.seq = :seq and n.attempt = :attempt and n.state = 1 and n.next_at > :now

-- name: queue_items
-- The open items it stands for, newest first; of each whether a range nobody has applied yet covers one of its places, and
-- where it stands.
select l.notification, exists (select 1 from item_place q join seen_range r on r.applied = 0 and r.mailbox = q.mailbox
    and r.uidvalidity = q.uidvalidity and r.hi >= q.uid and r.lo <= q.uid where q.item = i.seq),
  coalesce(m.name, ''), coalesce(p.uidvalidity, 0), coalesce(p.uid, 0),
  i.seq, i.person, i.event, i.key, i.category, i.thread, i.message_id, i.opened, i.state, i.cause, i.ended, i.digest,
  i.mailbox_name, i.summary
from notification_item l join item i on i.seq = l.item
left join item_place p on p.rowid = (select q.rowid from item_place q where q.item = i.seq and q.gone = 0 limit 1)
left join mailbox m on m.id = p.mailbox
where l.notification = :notification and i.state = 0 order by i.seq desc limit :limit

-- name: queue_handover
update notification set state = 2, next_at = :lease, frozen = :frozen, reference = :reference
where seq = :seq and attempt = :attempt and state = 1 and next_at > :now and retracted = 0 returning seq

-- name: queue_release
-- Back to available without an attempt counted: nothing was tried.
update notification set state = 0, next_at = :next_at, attempt = attempt - 1
where seq = :seq and attempt = :attempt and state in (1, 2) returning seq

-- name: queue_settle
update notification set state = :state, next_at = :next_at, ended = :ended, repeats = :repeats, urgency = :urgency,
  cause = case when :cause <> '' then :cause else cause end,
  frozen = case when :keep_frozen then frozen else x'' end,
  reference = case when :reference <> '' then :reference else reference end
where seq = :seq and attempt = :attempt and state in (1, 2) returning seq, retracted

-- name: queue_accepted
-- The provider has it, and nobody took it back meanwhile: all there is to write of most pushes.
update notification set state = 3, next_at = 0, ended = :now, frozen = x''
where seq = :seq and attempt = :attempt and state = 1 and retracted = 0 returning seq, attempt

-- name: queue_stop
-- Ended by its own sender after the last check: nothing was tried, so the attempt does not count.
update notification set state = :state, next_at = 0, ended = :ended, attempt = attempt - 1, cause = :cause, frozen = x''
where seq = :seq and attempt = :attempt and state in (1, 2) returning seq

-- name: notification_perhaps_shown
-- More attempts than answers that say what became of one.
select seq from notification n where n.seq = :seq and n.attempt > (select count(*) from receipt r
  where r.notification = n.seq and r.outcome not in ('unknown_outcome', 'lapsed'))

-- name: receipt_write
insert into receipt(notification, attempt, at, outcome, code) values (:notification, :attempt, :at, :outcome, :code)

-- name: provider_ref_write
insert into provider_ref(provider, reference, notification, at) values (:provider, :reference, :notification, :at)
on conflict(provider, reference) do nothing

-- name: decision_write
-- A repeat that outlived its key says nothing new of what was decided; only planning again (`again`) does.
insert into decision(id, person, journal, item, name, category, at, verdict, deliveries)
values (:id, :person, :journal, :item, :name, :category, :at, :verdict, :deliveries)
on conflict(id) do update set verdict = excluded.verdict, deliveries = excluded.deliveries, category = excluded.category
where :again

-- name: undo_read
select device, dismiss, below, badge, next_at, attempt, state from undo where device = :device

-- name: undo_write
insert into undo(device, dismiss, below, badge, next_at, attempt, state) values (:device, :dismiss, :below, :badge, :next_at, 0, 0)
on conflict(device) do update set dismiss = excluded.dismiss, below = excluded.below, badge = max(badge, excluded.badge),
  next_at = case when state = 1 then undo.next_at else min(undo.next_at, excluded.next_at) end

-- name: undo_claim
update undo set state = 1, attempt = attempt + 1, next_at = :lease where device in (
  select device from undo where next_at <= :now order by next_at limit :limit)
returning device, dismiss, below, badge, attempt

-- name: undo_later
update undo set state = 0, next_at = :next_at where device = :device and attempt = :attempt

-- name: undo_done
-- What was added while it was under way stays.
delete from undo where device = :device and attempt = :attempt and dismiss = :dismiss and below = :below

-- name: undo_rest
update undo set state = 0, next_at = :next_at, dismiss = :dismiss, below = :below, badge = :badge
where device = :device and attempt = :attempt

-- name: binding_unseen
update binding set unseen = :unseen where person = :person and unseen <> :unseen returning person, device

-- name: device_unseen
select b.unseen from binding b where b.device = :device

-- name: device_badge
select badge_sent, zero_due from device where id = :id

-- name: device_badge_sent
update device set badge_sent = :badge, zero_due = :zero_due where id = :id

-- name: counter_add
insert into counter(person, name, bucket, n) values (:person, :name, :bucket, 1)
on conflict(person, name, bucket) do update set n = n + 1

-- name: counter_sum
select coalesce(sum(n), 0), :person from counter where person = :person and name = :name and bucket >= :since

-- name: quota_read
select root, resource, level, told, refused from quota_state where owner = :owner

-- name: quota_write
insert into quota_state(owner, root, resource, level, told, refused) values (:owner, :root, :resource, :level, :told, :refused)
on conflict(owner, root, resource) do update set level = excluded.level, told = excluded.told, refused = excluded.refused

-- name: sign_in_read
select network, service, first, told from sign_in where person = :person and (network = :network or network = :admin)

-- name: sign_in_write
insert into sign_in(person, network, service, first, told) values (:person, :network, :service, :first, :told)
on conflict(person, network, service) do update set told = excluded.told

-- name: slot_claim
insert into digest_slot(person, name, due, state, notification) values (:person, :name, :due, :state, :notification)
on conflict(person, name) do nothing returning due

-- name: slot_state
update digest_slot set state = :state where person = :person and notification = :notification

-- name: notification_link_count
select count(*) from notification_item where notification = :notification

-- name: person_mark
-- Planned again, without a new revision: nothing of his own changed.
update person set replan = 1 where id = :id

-- name: undo_lapse_all
update undo set state = 0, next_at = 0 where state = 1

-- name: device_routes
select distinct platform || '.' || app from device

-- name: notification_fate
select n.state, n.cause, n.created, n.ended,
  coalesce((select r.code from receipt r where r.notification = n.seq order by r.seq desc limit 1), '')
from notification n where n.id = :id

-- name: notification_earliest
-- Of those that have one to supersede, when the earliest was due.
select :notification, min(next_at) from notification
where target = :target and collapse = :collapse and collapse <> x'' and state = 0 and seq < :notification
having min(next_at) is not null

-- name: notification_due
update notification set next_at = :next_at where seq = :seq and state = 0

-- name: notification_by_id
select seq, id, person, event, kind, category, medium, route, target, collapse, state, next_at, attempt, expires_at,
  urgency, privacy, rev, layer_rev, params, created, repeats, retracted, cause, frozen
from notification where id = :id

-- name: decision_deliveries
select deliveries from decision where id = :id
