-- name: person_create
-- Known from now on, and planned once (his digest has a next slot); an existing row keeps everything.
insert into person(id, name, tenant, first_seen, replan) values (:id, :name, :tenant, :now, 1) on conflict(id) do nothing

-- name: person_known
-- By a device, a contact or a document of his own: with the last of them he is nobody again.
select id from person where id = :id and (exists (select 1 from binding where person = :id)
  or length(document) > 0 or exists (select 1 from contact where person = :id))

-- name: person_read
select id, name, rev, tenant, first_seen, active_at, suspended_at, document, document_rev, document_at, digest_due, digest_after
from person where id = :id

-- name: person_touch
-- Any write to what a decision depends on: the revision rises and what waits is planned again, in the same transaction.
update person set rev = rev + 1, replan = 1 where id = :id

-- name: person_document
update person set document = :document, document_rev = document_rev + 1, document_at = :now, rev = rev + 1, replan = 1
where id = :id and document_rev = :rev returning document_rev

-- name: person_suspend
-- As of that moment, once: what was registered since then holds.
update person set suspended_at = :now, rev = rev + 1, replan = 1 where id = :id and suspended_at < :now

-- name: person_confirm
update person set suspended_at = 0, rev = rev + 1, replan = 1 where id = :id

-- name: person_active
update person set active_at = max(active_at, :at) where id = :id

-- name: person_to_replan
select id from person where replan = 1 limit :limit

-- name: person_replanned
update person set replan = 0 where id = :id

-- name: person_digest
update person set digest_due = :due, digest_after = :after where id = :id

-- name: person_digest_due
select id from person where digest_due > 0 and digest_due <= :now order by digest_due limit :limit

-- name: person_delete
delete from person where id = :id

-- name: erasure_write
insert into erasure(person, until) values (:person, :until) on conflict(person) do update set until = excluded.until

-- name: erasure_any
select 1 from erasure limit 1

-- name: erasure_read
select person from erasure where person = :person and until > :now

-- name: layer_read
select document, rev from layer where kind = :kind and name = :name

-- name: layer_write
insert into layer(kind, name, document, rev) values (:kind, :name, :document, 1)
on conflict(kind, name) do update set document = excluded.document, rev = rev + 1 returning rev

-- name: person_walk
select id from person where id > :after order by id limit :limit

-- name: layer_mark
-- Of these people, whoever a new layer may concern (`services.marking.Reach`): by what waits for them, by a notice in their
-- next digest, or by the digest they have or may have. `category in` is how SQLite recognises the partial index.
update person set replan = 1 where id > :after and id <= :last and replan = 0 and (
  exists (select 1 from notification n where n.person = person.id and n.state in (0, 1, 2))
  or exists (select 1 from item i where i.person = person.id and i.digest = 1 and i.state = 0
    and i.category in ('quota.warning', 'quota.exceeded', 'quota.ok', 'security.login'))
  or :reach >= 2 or :reach = 1 and (digest_due > 0 or length(document) > 0
    or exists (select 1 from contact c where c.person = person.id)))

-- name: device_read
select d.id, d.platform, d.app, d.token, d.environment, d.name, d.registered, d.badge, d.privacy, d.fetch, d.locale,
  d.zone, d.last_ok, d.last_error, b.since
from binding b join device d on d.id = b.device where b.person = :person order by b.since, d.id

-- name: device_one
select d.id, d.platform, d.app, d.token, d.environment, d.name, d.registered, d.badge, d.privacy, d.fetch, d.locale,
  d.zone, d.last_ok, d.last_error, d.registered
from device d where d.id = :device

-- name: device_owners
select b.person, p.name from binding b join person p on p.id = b.person where b.device = :device

-- name: device_installation
select installation from device where id = :device

-- name: device_write
insert into device(id, platform, app, token, environment, name, registered, installation, badge, privacy, fetch, locale, zone)
values (:id, :platform, :app, :token, :environment, :name, :now, :installation, :badge, :privacy, :fetch, :locale, :zone)
on conflict(id) do update set environment = excluded.environment, name = excluded.name, registered = excluded.registered,
  installation = excluded.installation, badge = excluded.badge, privacy = excluded.privacy, fetch = excluded.fetch,
  locale = excluded.locale, zone = excluded.zone, last_error = '', other_tried = 0, badge_sent = -1

-- name: device_update
update device set name = :name, badge = :badge, privacy = :privacy, fetch = :fetch, locale = :locale, zone = :zone where id = :id

-- name: device_ok
-- It took a push, with this number on its icon (-1: none); `zero_due` by the rule of `engine.badge.sent`. Returned with it:
-- whether that is known to be another number than it should show by now, of the accounts it belongs to (`device_unseen`).
update device set last_ok = :at, last_error = '', badge_sent = case when :badge < 0 then badge_sent else :badge end,
  zero_due = case when :badge < 0 then zero_due else :badge = 0 and badge_sent <> 0 end where id = :id
returning id, :badge >= 0 and coalesce((select min(b.unseen) >= 0 and sum(b.unseen) <> :badge from binding b
  join person p on p.id = b.person where b.device = device.id and b.since > p.suspended_at), 0)

-- name: device_switch
-- The other APNs world is tried once; a second wrong answer means the token is dead.
update device set environment = :environment, other_tried = 1 where id = :id and environment = :sent and other_tried = 0 returning id

-- name: device_dead
-- Dead only if it was not registered again since the provider's timestamp.
delete from device where id = :id and (:since = 0 or registered < :since) returning id

-- name: binding_count
select count(*) from binding where person = :person

-- name: binding_write
insert into binding(person, device, since) values (:person, :device, :now)
on conflict(person, device) do update set since = excluded.since

-- name: binding_delete
delete from binding where person = :person and device = :device returning device

-- name: binding_delete_others
delete from binding where device = :device and person <> :person returning person

-- name: binding_drop
delete from binding where device = :device returning person

-- name: device_orphan
delete from device where id = :device and not exists (select 1 from binding where device = :device)

-- name: contact_read
select id, kind, value, state, verified_at, created from contact where person = :person order by created, id

-- name: contact_one
select id, person, kind, value, state, verified_at, created, code, code_until, tries, sends, sent_at from contact where id = :id

-- name: contact_write
insert into contact(id, person, kind, value, state, verified_at, created)
values (:id, :person, :kind, :value, :state, :verified_at, :now) on conflict(id) do update set
  state = excluded.state, verified_at = excluded.verified_at

-- name: contact_code
update contact set code = :code, code_until = :until, tries = 0, sends = :sends, sent_at = :sent_at where id = :id

-- name: contact_tried
update contact set tries = tries + 1 where id = :id returning tries

-- name: contact_state
update contact set state = :state, verified_at = :verified_at, code = x'', code_until = 0 where id = :id

-- name: contact_take_over
-- A number verified by another account is taken over; the former holder's row is no longer verified.
update contact set state = 'pending', verified_at = 0 where kind = :kind and value = :value and id <> :id and state = 'verified'
returning person

-- name: contact_stop
update contact set state = 'stopped' where kind = :kind and value = :value returning person

-- name: contact_resume
update contact set state = case when verified_at > 0 then 'verified' else 'pending' end
where kind = :kind and value = :value and state = 'stopped' returning person

-- name: contact_delete
delete from contact where id = :id and person = :person returning kind

-- name: contact_count
select count(*) from contact where person = :person

-- name: suppression_write
insert into suppression(hash, why, since) values (:hash, :why, :now) on conflict(hash) do nothing

-- name: suppression_read
select why, since from suppression where hash = :hash

-- name: suppression_delete
delete from suppression where hash = :hash
