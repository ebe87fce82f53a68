-- Times are UTC microseconds, ids and hashes 16 raw bytes, 0, -1 or '' where a value is unknown: every column is not null.
-- Rowid tables, unique only where a repeat is decided: random 16-byte keys everywhere cost three times the CPU.
-- `autoincrement` where a row's number is kept elsewhere, or in somebody's hands, longer than the row: without it SQLite
-- counts on from the highest that is left, and the history would one day name another person's event. It costs 0.2 us a
-- row. Not where a number is only an order (decision, receipt, seen_range), or is never asked for alone (inbox: always
-- together with its journal row).

-- What was reported already. The key is kept until `until`, which no repeat extends.
create table event_key(
  key blob not null unique,
  until integer not null
);

-- What was reported, as it came; `dialect` and `source` let a mended parser read it again.
create table journal(
  seq integer primary key autoincrement,
  key blob not null,
  owner blob not null,
  source text not null,
  store text not null,
  dialect text not null,
  name text not null,
  mailbox integer not null,
  received integer not null,
  body blob not null
);
create index journal_owner on journal(owner, seq);

-- One row per person concerned: the wake-up itself, deleted when decided.
create table inbox(
  seq integer primary key,
  journal integer not null,
  person blob not null,
  tries integer not null default 0,
  next_at integer not null default 0
);
create index inbox_person on inbox(person);

-- Events three tries could not decide; listed with the dead letters, never in their person's way.
create table dead(
  seq integer primary key autoincrement,
  journal integer not null,
  person blob not null,
  error text not null,
  at integer not null
);

-- Whoever is known: by a device, a contact, a document, or because his tenant says so.
create table person(
  id blob not null unique,
  name text not null,
  rev integer not null default 1,
  replan integer not null default 0,
  tenant text not null default '',
  first_seen integer not null,
  active_at integer not null default 0,
  suspended_at integer not null default 0,
  document blob not null default x'',
  document_rev integer not null default 0,
  document_at integer not null default 0,
  digest_due integer not null default 0,
  digest_after integer not null default 0
);
create index person_replan on person(replan) where replan = 1;
create index person_digest on person(digest_due) where digest_due > 0;

-- An erased person's keyed hash: until then events create nothing.
create table erasure(
  person blob not null unique,
  until integer not null
);

create table layer(
  kind text not null,
  name text not null,
  document blob not null,
  rev integer not null,
  unique(kind, name)
);

-- A mailbox is its row: renames change the name, everything else hangs on the id.
-- `swept`: items of smaller UIDVALIDITYs have been ended. `deleted`: when that happened, 0 while it exists. `former`: when
-- the one before it that had its name was deleted, 0 if none was.
-- `renewed`, `created`: when a report showed that it is another mailbox under the old name, and when a MailboxCreate came
-- that did not name its UIDVALIDITY; of an INBOX the two together mean another owner (`services.new_owner`), and are 0 again.
-- `appended`: when the last appends came, 8 bytes each, oldest first.
-- `counts`: it was deleted while a badge counted it. Its row stays, or the 0 it counts would become unknown.
create table mailbox(
  id integer primary key autoincrement,
  store text not null,
  owner blob not null,
  name text not null,
  uidvalidity integer not null,
  swept integer not null,
  special text not null,
  unseen integer not null,
  messages integer not null,
  uidnext integer not null,
  modseq integer not null,
  counted integer not null,
  deleted integer not null default 0,
  former integer not null default 0,
  renewed integer not null default 0,
  created integer not null default 0,
  appended blob not null default x'',
  counts integer not null default 0,
  unique(store, owner, name)
);
create index mailbox_owner on mailbox(owner, name);

-- A report for the old name follows the rename for ten minutes.
create table mailbox_old_name(
  store text not null,
  owner blob not null,
  name text not null,
  new_name text not null,
  uidvalidity integer not null,
  until integer not null,
  unique(store, owner, name)
);

-- What was read or removed, as ranges: written by intake, so that the last check needs to wait for nobody.
-- `reached`: of one not yet applied, the UID up to which it was.
create table seen_range(
  seq integer primary key,
  mailbox integer not null,
  uidvalidity integer not null,
  lo integer not null,
  hi integer not null,
  op integer not null,
  cause text not null,
  actor blob not null,
  modseq integer not null,
  occurred integer not null,
  received integer not null,
  applied integer not null default 0,
  reached integer not null default 0
);
create index seen_range_place on seen_range(mailbox, uidvalidity, hi);
create index seen_range_open on seen_range(mailbox, uidvalidity, hi) where applied = 0;

-- A message as one person sees it. digest: 0 no, 1 pending, 2 stood in one.
create table item(
  seq integer primary key autoincrement,
  person blob not null,
  event integer not null,
  key blob not null,
  category text not null,
  thread blob not null,
  message_id blob not null,
  opened integer not null,
  state integer not null,
  cause text not null,
  ended integer not null,
  digest integer not null,
  own integer not null default 0,
  mailbox_name text not null,
  summary blob not null
);
create index item_message on item(person, message_id) where message_id <> x'';
create index item_digest on item(person) where digest = 1;
-- Quota news and sign-ins that stand in the next one; no message is in it.
create index item_notice on item(person) where digest = 1
  and category in ('quota.warning', 'quota.exceeded', 'quota.ok', 'security.login');
create index item_ended on item(ended) where state <> 0;

-- seen: 0 nothing was said of \Seen there, 1 it was set, 2 cleared.
-- gone: 0 it stands there, 1 it does no more, 2 it does, but that is the junk, 3 the trash.
create table item_place(
  person blob not null,
  mailbox integer not null,
  uidvalidity integer not null,
  uid integer not null,
  item integer not null,
  seen integer not null default 0,
  gone integer not null default 0,
  unique(mailbox, person, uidvalidity, uid)
);
create index item_place_item on item_place(item);

-- The queue and, once a row has ended, its history: the id stays known for 14 days, so that nothing is sent again.
create table notification(
  seq integer primary key autoincrement,
  id blob not null unique,
  person blob not null,
  event integer not null,
  kind text not null,
  category text not null,
  medium text not null,
  route text not null,
  target blob not null,
  collapse blob not null,
  state integer not null,
  next_at integer not null,
  attempt integer not null,
  expires_at integer not null,
  urgency integer not null,
  privacy integer not null,
  rev integer not null,
  layer_rev integer not null,
  params blob not null,
  created integer not null,
  repeats integer not null default 0,
  retracted integer not null default 0,
  cause text not null default '',
  frozen blob not null default x'',
  reference text not null default '',
  ended integer not null default 0
);
create index notification_next on notification(route, next_at) where state in (0, 1, 2);
create index notification_handing_over on notification(route, next_at) where state = 2;
create index notification_person on notification(person, state) where state in (0, 1, 2);
-- What shows in one place of one screen, the newest last. Not by state: written once with its push, and never again while
-- that moves on. That at most one of a group is in a sender's hands on the wire is no unique index over claimed and
-- handing over: a route has one sender in one process, which keeps the groups in memory (`Deliveries.occupy`), and claims
-- the next one while the last is still under way, so that it goes the moment that has its answer; an index by state would
-- also be written anew at every claim and every answer.
create index notification_collapse on notification(target, collapse) where collapse <> x'';
create index notification_letter on notification(state, seq) where state in (6, 7);
-- What says «full», for the day there is room again; all others are not in it.
create index notification_full on notification(person) where category in ('quota.warning', 'quota.exceeded');

create table notification_item(
  notification integer not null,
  item integer not null,
  primary key(notification, item)
) without rowid;
create index notification_item_item on notification_item(item);
-- Of what a push stands for, the items that an earlier one of its collapse group has told already, or is about to: it
-- stands for them as long as it is shown, but does not ring for them alone.
create view told(notification, item) as
select l.notification, l.item from notification_item l join notification n on n.seq = l.notification
join notification_item o on o.item = l.item and o.notification < l.notification
join notification p on p.seq = o.notification and p.target = n.target and p.collapse = n.collapse
where n.collapse <> x'' and p.state in (1, 2, 3, 7);

create table receipt(
  seq integer primary key,
  notification integer not null,
  attempt integer not null,
  at integer not null,
  outcome text not null,
  code text not null
);
create index receipt_notification on receipt(notification);
-- The tries of which somebody knows what became: all others may have arrived, and one that is under way.
create view answered(notification) as
select notification from receipt where outcome not in ('unknown_outcome', 'lapsed');
-- Those that were given up without knowing, and when.
create view lost(notification, at) as
select notification, at from receipt where outcome in ('unknown_outcome', 'lapsed');

-- One row per event and person: what was decided and why. `deliveries`: the ids of its notifications, 16 bytes each.
create table decision(
  seq integer primary key,
  id blob not null unique,
  person blob not null,
  journal integer not null,
  item integer not null,
  name text not null,
  category text not null,
  at integer not null,
  verdict blob not null,
  deliveries blob not null
);
create index decision_person on decision(person, seq);

create table digest_slot(
  person blob not null,
  name text not null,
  due integer not null,
  state text not null,
  notification blob not null,
  unique(person, name)
);
create index digest_slot_due on digest_slot(due);

create table device(
  id blob not null unique,
  platform text not null,
  app text not null,
  token text not null,
  environment text not null,
  name text not null,
  registered integer not null,
  installation blob not null,
  badge integer not null,
  privacy integer not null default -1,
  fetch integer not null default 0,
  locale text not null default '',
  zone text not null default '',
  last_ok integer not null default 0,
  last_error text not null default '',
  other_tried integer not null default 0,
  badge_sent integer not null default -1,
  zero_due integer not null default 0
);

create table binding(
  person blob not null,
  device blob not null,
  since integer not null,
  unseen integer not null default -1,
  unique(person, device)
);
create index binding_device on binding(device);

-- What a device still has to be told to take back: merged, one row a device, a lane of its own for each route.
-- state: 0 waits for its time, 1 in its lane's hands until `next_at`, 2 waits as long as the provider wants, whatever is
-- added. `attempt`: tries that counted, since the last that the provider took.
create table undo(
  device blob not null unique,
  route text not null,
  dismiss blob not null,
  below blob not null,
  badge integer not null default 0,
  next_at integer not null,
  attempt integer not null default 0,
  state integer not null default 0
);
create index undo_next on undo(route, next_at);

create table contact(
  id blob not null unique,
  person blob not null,
  kind text not null,
  value text not null,
  state text not null,
  verified_at integer not null default 0,
  created integer not null,
  code blob not null default x'',
  code_until integer not null default 0,
  tries integer not null default 0,
  sends integer not null default 0,
  sent_at integer not null default 0
);
create index contact_person on contact(person);
create index contact_value on contact(kind, value);

create table suppression(
  hash blob not null unique,
  why text not null,
  since integer not null
);

-- A provider's own id of what it took: callbacks name only that.
create table provider_ref(
  provider text not null,
  reference text not null,
  notification blob not null,
  at integer not null,
  unique(provider, reference)
);

-- `maximum`: the limit last reported, in KiB or messages; 0 if none was. `as_of`: when what changed the row last happened.
create table quota_state(
  owner blob not null,
  root text not null,
  resource text not null,
  level integer not null,
  told integer not null,
  refused integer not null,
  maximum integer not null default 0,
  as_of integer not null default 0,
  unique(owner, root, resource)
);

-- `seen`: the last time, to about a day. A network that is used is never forgotten.
create table sign_in(
  person blob not null,
  network text not null,
  service text not null,
  first integer not null,
  told integer not null,
  seen integer not null,
  unique(person, network, service)
);

-- Caps, beside the queue and never counted from it: `bucket` is the start of its five minutes.
create table counter(
  person blob not null,
  name text not null,
  bucket integer not null,
  n integer not null,
  unique(person, name, bucket)
);
