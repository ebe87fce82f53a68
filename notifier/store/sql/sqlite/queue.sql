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
returning seq

-- name: notification_link
insert into notification_item(notification, item) values (:notification, :item) on conflict do nothing

-- name: notification_before
-- The newest of its collapse group before it that waits, is under way, or may be on the screen. A silent wake-up (privacy
-- 0) and what is shown are no group. So far back is looked, for what was cancelled stands between them.
select :notification, seq, state, next_at, privacy from (
  select seq, state, next_at, privacy from notification
  where target = :target and collapse = :collapse and collapse <> x'' and seq < :notification
  order by seq desc limit :look) p
where state in (0, 1, 2, 3, 7) and (privacy = 0) = (:privacy = 0) limit 1

-- name: notification_after
-- The newest of its collapse group after it, by the same rules, if anything of what it stands for was taken over: what
-- was a dead letter when that came, and is replayed, still has to be told.
select :notification, seq, state, next_at from (
  select seq, state, next_at, privacy from notification
  where target = :target and collapse = :collapse and collapse <> x'' and seq > :notification
  order by seq desc limit :look) p
where state in (0, 1, 2, 3, 7) and (privacy = 0) = (:privacy = 0) and (
  not exists (select 1 from notification_item l where l.notification = :notification)
  or exists (select 1 from notification_item l
    join notification_item o on o.item = l.item and o.notification > l.notification
    join notification n on n.seq = o.notification and n.target = :target and n.collapse = :collapse
    where l.notification = :notification)) limit 1

-- name: notification_carry
-- What is still open of what the one before stands for, the newest first.
insert or ignore into notification_item(notification, item)
select :notification, l.item from notification_item l join item i on i.seq = l.item
where l.notification = :before and i.state = 0 order by l.item desc limit :limit returning item

-- name: notification_carries
-- Whether it stands for anything open that the one before stands for.
select 1 from notification_item l join notification_item o on o.notification = :before and o.item = l.item
join item i on i.seq = l.item where l.notification = :notification and i.state = 0 limit 1

-- name: notification_quieter
-- It tells no more of what it took over than was allowed there.
update notification set privacy = :privacy where seq = :seq and privacy > :privacy

-- name: notification_superseded
update notification set state = 4, cause = 'superseded', ended = :now where seq = :seq and state = 0

-- name: notification_cancel
-- A code is a key: nothing of it stays. Nor does a mail that was to be repeated: it may have arrived, and nobody knows.
update notification set state = case when medium = 'email' and repeats > 0 then 7 else 4 end, cause = :cause, ended = :now,
  frozen = x'', params = case kind when 'code' then '{}' else params end
where seq = :seq and state = 0 returning state, case medium when 'push' then target else x'' end

-- name: notification_retract
update notification set retracted = 1, cause = :cause where seq = :seq and state in (1, 2)

-- name: notification_hush
-- What was read meanwhile is retracted, whatever else was done with it.
update notification set retracted = 2, cause = :cause where seq = :seq and state in (1, 2) and retracted = 0

-- name: notification_taken_back
-- Nothing of its mailbox's is left by which its history could tell that its device was told to take it back.
update notification set retracted = 1, cause = :cause where seq = :seq and state = 3

-- name: notification_walk
-- One person's waiting rows in the order they were made: each state is read along notification_person and the three are
-- merged, so that nothing is sorted and no row beyond the limit is looked at.
select seq, id, event, kind, state, target, collapse from notification
where person = :person and state in (0, 1, 2) and state = 0 and seq between :from and :until
union all select seq, id, event, kind, state, target, collapse from notification
where person = :person and state in (0, 1, 2) and state = 1 and seq between :from and :until
union all select seq, id, event, kind, state, target, collapse from notification
where person = :person and state in (0, 1, 2) and state = 2 and seq between :from and :until
order by seq limit :limit

-- name: notification_newest
select coalesce(max(seq), 0) from notification

-- name: notification_stands_for
-- The items it is to tell of, with the events that opened them; an item that is forgotten is no open one.
select l.item, coalesce(i.event, 0), coalesce(i.state, 2) from notification_item l left join item i on i.seq = l.item
where l.notification = :notification and l.item > :after
  and not exists (select 1 from told t where t.notification = l.notification and t.item = l.item)
order by l.item limit :limit

-- name: notification_unlink
-- It waits, and goes on without this item, if at all. What it may have shown is kept, to be taken back with all of it.
delete from notification_item where notification = :notification and item = :item and exists (
  select 1 from notification n where n.seq = :notification and n.state = 0
    and n.attempt <= (select count(*) from answered a where a.notification = n.seq))

-- name: notification_bump
-- What no wish plans (tests, codes, notices) only follows the revision.
update notification set rev = :rev, layer_rev = :layer_rev where seq = :seq and state = 0

-- name: digest_forgotten
-- What it said under other wishes, unless it may have arrived.
update notification set frozen = x'' where seq = :seq and state = 0 and kind = 'digest' and repeats = 0 and frozen <> x''
and (rev, layer_rev) <> (:rev, :layer_rev) returning seq

-- name: notification_read
select seq, id, person, event, kind, category, medium, route, target, collapse, state, next_at, attempt, expires_at,
  urgency, privacy, rev, layer_rev, params, created, repeats, retracted, cause, frozen
from notification where seq = :seq

-- name: notification_open_count
select count(*) from notification_item l join item i on i.seq = l.item where l.notification = :notification and i.state = 0

-- name: notification_standing
-- Whether anything it stands for is open (of one that no phone shows: anything it is to tell of), and whether a phone
-- may show it: an attempt without a receipt that says otherwise may have been shown.
select n.seq, n.id, n.state, n.medium, n.target,
  exists (select 1 from notification_item l join item i on i.seq = l.item where l.notification = n.seq and i.state = 0
    and (n.shown or not exists (
      select 1 from told t where t.notification = l.notification and t.item = l.item))),
  n.shown, n.repeats
from (select seq, id, state, medium, target, repeats, state in (3, 7) or attempt > (
    select count(*) from answered a where a.notification = notification.seq) as shown
  from notification where seq = :seq) n

-- name: notification_heir
-- What waits in the place of one that was superseded.
select p.id from (
  select h.id, h.state from notification n join notification h on h.target = n.target and h.collapse = n.collapse
  where n.id = :id and n.state = 4 and n.cause = 'superseded' and n.collapse <> x'' and h.collapse <> x'' and h.seq > n.seq
  order by h.seq desc limit 100) p
where p.state = 0 limit 1

-- name: queue_claim
-- `in (0, 1, 2)` is how SQLite recognises the partial index. `besides`: of what is under way here, rows that nobody else
-- may have.
update notification set attempt = attempt + 1, state = 1, next_at = :lease where seq in (
  select seq from notification where route = :route and state in (0, 1, 2) and state <> 2 and next_at <= :now
    and seq not in (select value from json_each(:besides)) order by next_at limit :limit)
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

-- name: queue_lapse_tries
-- Of pushes in a sender's hands then nobody knows when, or whether, they left: at the latest now, or when their lease ended.
insert into receipt(notification, attempt, at, outcome, code)
select seq, attempt, min(next_at, :now), 'lapsed', '' from notification
where state in (0, 1, 2) and state = 1 and medium = 'push' and next_at > 0

-- name: queue_lapse_badges
-- Pushes in a sender's hands then may have left: nobody knows the number on these phones.
update device set badge_sent = -1 where id in (
  select target from notification where state in (0, 1, 2) and state = 1 and medium = 'push')

-- name: queue_check
-- Still this attempt's, still in its lease, not retracted, and planned under the revisions that hold now; then the number
-- for the badge, of the accounts it belongs to (`device_unseen`): unknown (-1) if one of them is. A person who is gone has
-- no revision. Of a later attempt, whether an earlier one may have been shown, and when the last of those was given up.
select n.seq, n.retracted, n.rev = p.rev and n.layer_rev = :layer_rev, p.rev, coalesce(
  (select case when min(b.unseen) < 0 then -1 else sum(b.unseen) end from binding b join person o on o.id = b.person
    where b.device = n.target and b.since > o.suspended_at), -1),
  n.attempt, case when n.attempt > 1
    then n.attempt - 1 > (select count(*) from answered a where a.notification = n.seq) else 0 end,
  case when n.attempt > 1 then coalesce((select max(o.at) from lost o where o.notification = n.seq), n.created) else 0 end
from notification n left join person p on p.id = n.person
where n.seq = :seq and n.attempt = :attempt and n.state = 1 and n.next_at > :now

-- name: queue_items
-- The open items it stands for, newest first; of each whether a range nobody has applied yet covers one of its places,
-- whether it was told already, and where it stands.
select l.notification, exists (select 1 from item_place q join seen_range r on r.applied = 0 and r.mailbox = q.mailbox
    and r.uidvalidity = q.uidvalidity and r.hi >= q.uid and r.lo <= q.uid where q.item = i.seq),
  exists (select 1 from told t where t.notification = l.notification and t.item = l.item),
  coalesce(m.name, ''), coalesce(p.uidvalidity, 0), coalesce(p.uid, 0),
  i.seq, i.person, i.event, i.key, i.category, i.thread, i.message_id, i.opened, i.state, i.cause, i.ended, i.digest,
  coalesce(m.name, i.mailbox_name), i.summary
from notification_item l join item i on i.seq = l.item
left join item_place p on p.rowid = (select q.rowid from item_place q where q.item = i.seq and q.gone = 0 limit 1)
left join mailbox m on m.id = p.mailbox
where l.notification = :notification and i.state = 0 order by l.item desc limit :limit

-- name: queue_handover
update notification set state = 2, next_at = :lease, frozen = :frozen, reference = :reference
where seq = :seq and attempt = :attempt and state = 1 and next_at > :now and retracted = 0 returning seq

-- name: queue_release
-- Back to available without an attempt counted: nothing was tried. Its text is written anew when it goes, but for a mail
-- that may have arrived, and for a digest, whose list stands.
update notification set state = 0, next_at = :next_at, attempt = attempt - 1,
  frozen = case when repeats > 0 or kind = 'digest' then frozen else x'' end
where seq = :seq and attempt = :attempt and state in (1, 2) returning seq

-- name: queue_settle
update notification set state = :state, next_at = :next_at, ended = :ended, repeats = :repeats, urgency = :urgency,
  cause = case when :cause <> '' then :cause else cause end,
  frozen = case when :keep_frozen then frozen else x'' end,
  reference = case when :reference <> '' then :reference else reference end,
  params = case when kind = 'code' and :ended > 0 then '{}' else params end
where seq = :seq and attempt = :attempt and state in (1, 2) returning seq, retracted

-- name: queue_accepted
-- The provider has it, and nobody took it back meanwhile: all there is to write of most pushes.
update notification set state = 3, next_at = 0, ended = :now, frozen = x''
where seq = :seq and attempt = :attempt and state = 1 and retracted = 0 returning seq, attempt

-- name: queue_stop
-- Ended by its own sender after the last check: nothing was tried, so the attempt does not count. What marked it in its
-- hands knows why.
update notification set state = :state, next_at = 0, ended = :ended, attempt = attempt - 1, frozen = x'',
  cause = case when retracted <> 0 and cause <> '' then cause else :cause end,
  params = case kind when 'code' then '{}' else params end
where seq = :seq and attempt = :attempt and state = 1 returning seq

-- name: queue_end
-- Ended without an attempt: what it would have said goes with it. Of what was handed over, only that nobody knows.
update notification set state = :state, next_at = 0, ended = :ended, frozen = x'', params = '{}',
  cause = case when :cause <> '' then :cause else cause end
where seq = :seq and attempt = :attempt and (state in (0, 1) or (state = 2 and :state = 7)) returning seq

-- name: queue_routes
-- From route to route by the index: there are a handful.
with recursive p(route) as (
  select (select route from notification where state in (0, 1, 2) order by route limit 1)
  union all
  select (select n.route from notification n where n.state in (0, 1, 2) and n.route > p.route order by n.route limit 1)
  from p where p.route is not null)
select route from p where route is not null limit :limit

-- name: queue_due
-- What is due on one route, the longest first: to be looked through, from (`after`, `seq`) on.
select seq, next_at, expires_at, state from notification
where route = :route and state in (0, 1, 2) and next_at <= :now and (next_at, seq) > (:after, :seq)
order by next_at, seq limit :limit

-- name: store_probe
-- Writes the first page of the file («noti», whatever stood there): the cheapest commit that needs the disk.
pragma application_id = 1852798057

-- name: queue_waiting
-- How many of the first so many of one route are due or have been tried, and since when the first of those waits.
select count(*), coalesce(sum(late), 0), coalesce(min(case when late then since end), 0) from (
  select attempt > 0 or next_at <= :now as late, case when attempt > 0 then created else next_at end as since
  from notification where route = :route and state in (0, 1, 2) order by next_at limit :limit) p

-- name: notification_doubts
-- How many more attempts than answers that say what became of one.
select n.attempt - (select count(*) from answered a where a.notification = n.seq) from notification n where n.seq = :seq

-- name: quota_notifications
-- What says that a mailbox is full, with the columns of `notification_standing` and its category and parameters. `category in`
-- is how SQLite recognises the partial index.
select n.seq, n.id, n.state, n.medium, n.target, 0,
  n.state in (3, 7) or n.attempt > (select count(*) from answered a where a.notification = n.seq),
  n.repeats, n.category, n.params
from notification n where n.person = :person and n.category in ('quota.warning', 'quota.exceeded')
and (n.state in (0, 1, 2) or (n.medium = 'push' and n.retracted = 0 and n.ended > :shown_since))

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
select dismiss, below from undo where device = :device

-- name: undo_write
-- One that a provider made wait (2) is not hurried by what is added. A device that is gone is told nothing.
insert into undo(device, route, dismiss, below, badge, next_at, attempt, state)
select d.id, d.platform || '.' || d.app, :dismiss, :below, :badge, :next_at, 0, 0 from device d where d.id = :device
on conflict(device) do update set route = excluded.route, dismiss = excluded.dismiss, below = excluded.below,
  badge = max(undo.badge, excluded.badge),
  next_at = case when undo.state = 0 then min(undo.next_at, excluded.next_at) else undo.next_at end

-- name: undo_claim
update undo set state = 1, attempt = attempt + 1, next_at = :lease where device in (
  select device from undo where route = :route and next_at <= :now order by next_at limit :limit)
returning device, dismiss, below, badge, attempt

-- name: undo_held
-- Still in the hands of whoever claimed it until then: the end of a lease tells claims apart.
select dismiss, below, badge from undo where device = :device and state = 1 and next_at = :lease

-- name: undo_rest
update undo set state = :state, next_at = :next_at, attempt = :attempt, dismiss = :dismiss, below = :below, badge = :badge
where device = :device

-- name: undo_drop
delete from undo where device = :device

-- name: undo_places
-- Every place of every message that a notification stands for.
select n.id, p.mailbox, p.person, p.uidvalidity, p.uid from notification n
join notification_item l on l.notification = n.seq join item_place p on p.item = l.item where n.id = :id

-- name: undo_below
-- The mailbox's name, and the UID below which everything of that person in it is read or gone: the lowest that is open,
-- else the one after the highest. It is asked only where a device has more to take back than can be listed.
select m.name, coalesce(
  (select p.uid from item_place p join item i on i.seq = p.item where p.mailbox = :mailbox and p.person = :person
    and p.uidvalidity = :uidvalidity and p.seen <> 1 and p.gone = 0 and i.state = 0 order by p.uid limit 1),
  (select max(p.uid) + 1 from item_place p where p.mailbox = :mailbox and p.person = :person
    and p.uidvalidity = :uidvalidity), 0)
from mailbox m where m.id = :mailbox

-- name: undo_unserved
-- At a start: whatever no channel carries any more.
delete from undo where route not in (select value from json_each(:routes)) returning 1

-- name: binding_unseen
-- What another owner's device has known is forgotten there: nothing of the new one's is told to it.
update binding set unseen = n.unseen from (
  select b.rowid as id, case when b.since > p.suspended_at then :unseen else -1 end as unseen
  from binding b join person p on p.id = b.person where b.person = :person) n
where binding.rowid = n.id and binding.unseen <> n.unseen returning person, device

-- name: device_unseen
-- Of the accounts it belongs to: not where a new person may own the address since.
select b.unseen from binding b join person p on p.id = b.person where b.device = :device and b.since > p.suspended_at

-- name: device_badge
select badge_sent, zero_due from device where id = :id

-- name: device_badge_doubted
-- What was last told may not be what it shows: the next number is sent whatever it is.
update device set badge_sent = -1 where id = :id

-- name: device_badge_sent
update device set badge_sent = :badge, zero_due = :zero_due where id = :id

-- name: counter_add
insert into counter(person, name, bucket, n) values (:person, :name, :bucket, 1)
on conflict(person, name, bucket) do update set n = n + 1

-- name: counter_sum
select coalesce(sum(n), 0), :person from counter where person = :person and name = :name and bucket >= :since

-- name: quota_read
select root, resource, level, told, refused, maximum, as_of from quota_state where owner = :owner

-- name: quota_write
insert into quota_state(owner, root, resource, level, told, refused, maximum, as_of)
values (:owner, :root, :resource, :level, :told, :refused, :maximum, :as_of)
on conflict(owner, root, resource) do update set level = excluded.level, told = excluded.told, refused = excluded.refused,
  maximum = excluded.maximum, as_of = excluded.as_of

-- name: sign_in_read
select network, service, first, told, seen from sign_in where person = :person and (network = :network or network = :admin)

-- name: sign_in_write
insert into sign_in(person, network, service, first, told, seen) values (:person, :network, :service, :first, :told, :seen)
on conflict(person, network, service) do update set told = excluded.told, seen = max(seen, excluded.seen)

-- name: slot_claim
insert into digest_slot(person, name, due, state, notification) values (:person, :name, :due, :state, :notification)
on conflict(person, name) do nothing returning due

-- name: slot_state
update digest_slot set state = :state where person = :person and notification = :notification

-- name: digests_over
-- One person's digests that wait past their time, with the columns of `notification_read`.
select n.seq, n.id, n.person, n.event, n.kind, n.category, n.medium, n.route, n.target, n.collapse, n.state, n.next_at,
  n.attempt, n.expires_at, n.urgency, n.privacy, n.rev, n.layer_rev, n.params, n.created, n.repeats, n.retracted, n.cause,
  n.frozen
from digest_slot s join notification n on n.id = s.notification
where s.person = :person and s.state = 'claimed' and n.state = 0 and n.expires_at <= :now

-- name: slot_emptied
-- Of a digest; any other notification is in no slot.
update digest_slot set state = 'empty' where (person, notification) = (
  select person, id from notification where seq = :seq and kind = 'digest')

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

-- name: notification_due
update notification set next_at = :next_at where seq = :seq and state = 0

-- name: notification_by_id
select seq, id, person, event, kind, category, medium, route, target, collapse, state, next_at, attempt, expires_at,
  urgency, privacy, rev, layer_rev, params, created, repeats, retracted, cause, frozen
from notification where id = :id

-- name: decision_kept
select deliveries, verdict from decision where id = :id

-- name: decision_amend
update decision set verdict = :verdict where id = :id
