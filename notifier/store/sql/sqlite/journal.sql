-- name: event_key_claim
-- A key whose window has passed may be claimed again; a repeat inside it extends nothing.
insert into event_key(key, until) values (:key, :until)
on conflict(key) do update set until = excluded.until where event_key.until <= :received
returning key

-- name: mailbox_report
-- Counts are the newest by modseq, else uidnext, else time (each the highest of all counts). A smaller UIDVALIDITY is a late
-- report of a mailbox that is no more, and so is any from before the deletion of the `former` one. One that rises makes it
-- another mailbox (`renewed`); created in the place of a deleted one it is empty. The last column: what was deleted is
-- there again (`mailbox_again`).
insert into mailbox(store, owner, name, uidvalidity, swept, special, unseen, messages, uidnext, modseq, counted)
values (:store, :owner, :name, :uidvalidity, :uidvalidity, :special, :unseen, :messages, :uidnext, :modseq,
  case when :unseen >= 0 or :messages >= 0 then :at else 0 end)
on conflict(store, owner, name) do update set
  special = case when excluded.special <> '' then excluded.special else special end,
  renewed = case when excluded.uidvalidity > uidvalidity and :at > former and uidvalidity > 0 then :received else renewed end,
  deleted = case when excluded.uidvalidity > uidvalidity and :at > former and uidvalidity > 0 then 0 else deleted end,
  former = case when excluded.uidvalidity > uidvalidity and :at > former and uidvalidity > 0 and deleted > 0 then deleted
    else former end,
  unseen = case when excluded.uidvalidity > uidvalidity and :at > former
    then max(excluded.unseen, case when :creates and deleted > 0 then 0 else -1 end)
    when excluded.unseen >= 0 and excluded.uidvalidity in (0, uidvalidity)
      and (:at > max(former, deleted) or excluded.uidvalidity > 0 and deleted = 0) and
      case when excluded.modseq > 0 and modseq > 0 then excluded.modseq >= modseq
        when excluded.uidnext > 0 and uidnext > 0 and excluded.uidnext <> uidnext then excluded.uidnext > uidnext
        else excluded.counted >= counted end
    then excluded.unseen else unseen end,
  messages = case when excluded.messages >= 0 and excluded.counted >= counted then excluded.messages else messages end,
  modseq = case when excluded.uidvalidity > uidvalidity and :at > former then excluded.modseq
    else max(modseq, excluded.modseq) end,
  uidnext = case when excluded.uidvalidity > uidvalidity and :at > former then excluded.uidnext
    else max(uidnext, excluded.uidnext) end,
  counted = case when excluded.unseen >= 0 or excluded.messages >= 0 then max(counted, excluded.counted) else counted end,
  created = case when :creates and excluded.uidvalidity = 0 then :received else created end,
  uidvalidity = case when :at > former then max(uidvalidity, excluded.uidvalidity) else uidvalidity end
returning id, uidvalidity, deleted > 0 and (:at > deleted or :creates and :at = deleted)

-- name: mailbox_again
-- By what happened later than its deletion: another mailbox, whose UIDVALIDITY may be smaller and of which nothing is
-- known but what that report says, once it is made again, and that it was created empty.
update mailbox set deleted = 0, former = deleted, renewed = :received, uidvalidity = :uidvalidity,
  swept = min(swept, :uidvalidity), special = '',
  unseen = case when :creates then 0 else -1 end, messages = -1, uidnext = 0, modseq = 0, counted = 0
where store = :store and owner = :owner and name = :name and deleted > 0
  and (:at > deleted or :creates and :at = deleted)

-- name: journal_append
insert into journal(key, owner, source, store, dialect, name, mailbox, received, body)
values (:key, :owner, :source, :store, :dialect, :name, :mailbox, :received, :body)
returning seq

-- name: inbox_append
insert into inbox(journal, person) values (:journal, :person) returning seq

-- name: inbox_next
-- What memory did not hand over: after a start, an overflow, a failure, a stray.
select i.seq, i.person, i.tries, j.seq, j.key, j.source, j.store, j.dialect, j.mailbox, j.received, j.body
from inbox i join journal j on j.seq = i.journal where i.next_at <= :now order by i.seq limit :limit

-- name: inbox_done
-- SQLite gives the number of the last row out again once that is deleted: only with its journal row it is the same one.
delete from inbox where seq = :seq and journal = :journal returning seq, journal

-- name: inbox_failed
update inbox set tries = tries + 1, next_at = :next_at where seq = :seq and journal = :journal returning tries

-- name: inbox_dead
insert into dead(journal, person, error, at) values (:journal, :person, :error, :at)

-- name: journal_read
select seq, key, source, store, dialect, mailbox, received, body from journal where seq = :seq

-- name: mailbox_rename
-- What it is for goes by its name wherever no attribute is reported: the report of the rename says it anew.
update mailbox set name = :name, special = :special where id = :id

-- name: mailbox_named
select id, uidvalidity, deleted, name from mailbox where store = :store and owner = :owner and name = :name

-- name: mailbox_children
-- A range of the unique index: from the separator to the character after it.
select id, uidvalidity, deleted, name from mailbox
where store = :store and owner = :owner and name > :name || :separator and name < :name || char(unicode(:separator) + 1)

-- name: mailbox_makes_way
-- Late reports of the one that had the name before are known by when that was deleted.
update mailbox set former = max(former, (select max(f.deleted, f.former) from mailbox f where f.id = :from)) where id = :into

-- name: mailbox_forget
delete from mailbox where id = :id

-- name: mailbox_merge_places
update or ignore item_place set mailbox = :into where mailbox = :from

-- name: mailbox_merge_ranges
update seen_range set mailbox = :into where mailbox = :from

-- name: mailbox_merge_counts
-- Of one mailbox under two names, the newer ones, in the order of `mailbox_report`.
update mailbox as m set (unseen, messages, uidnext, modseq, counted) = (
  select f.unseen, f.messages, f.uidnext, f.modseq, f.counted from mailbox f where f.id = :from)
where id = :into and exists (
  select 1 from mailbox f where f.id = :from and f.unseen >= 0 and (m.uidvalidity = 0 or f.uidvalidity in (0, m.uidvalidity))
    and case when f.modseq > 0 and m.modseq > 0 then f.modseq >= m.modseq
      when f.uidnext > 0 and m.uidnext > 0 and f.uidnext <> m.uidnext then f.uidnext > m.uidnext
      else f.counted >= m.counted end)

-- name: mailbox_old_name_write
insert into mailbox_old_name(store, owner, name, new_name, uidvalidity, until)
values (:store, :owner, :name, :new_name, :uidvalidity, :until)
on conflict(store, owner, name) do update set new_name = excluded.new_name, uidvalidity = excluded.uidvalidity, until = excluded.until

-- name: mailbox_old_name_load
select owner, max(until) from mailbox_old_name where until > :now group by owner

-- name: mailbox_old_name_read
select new_name, uidvalidity from mailbox_old_name where store = :store and owner = :owner and name = :name and until > :now

-- name: mailbox_old_name_follow
-- Renamed once more: what led to its last name leads to the new one.
update mailbox_old_name set new_name = :new_name where store = :store and owner = :owner and new_name = :name

-- name: mailbox_old_name_drop
-- A mailbox has that name again.
delete from mailbox_old_name where store = :store and owner = :owner and name = :name

-- name: mailbox_deletion_known
-- That of the one before it, told once more.
select 1 from mailbox where store = :store and owner = :owner and name = :name and :at <= former

-- name: mailbox_delete
-- Not by a late report of the one before it.
update mailbox set deleted = :at, unseen = 0, messages = 0 where store = :store and owner = :owner and name = :name
and not (:uidvalidity > 0 and :uidvalidity < uidvalidity)

-- name: seen_range_write
insert into seen_range(mailbox, uidvalidity, lo, hi, op, cause, actor, modseq, occurred, received)
values (:mailbox, :uidvalidity, :lo, :hi, :op, :cause, :actor, :modseq, :occurred, :received)
