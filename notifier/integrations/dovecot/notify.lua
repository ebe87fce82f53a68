-- notify.lua: tells notifier what happens in Dovecot's mailboxes, never holding a mail up for more than a second.
--
-- For Dovecot 2.3.19 and later, and 2.4, as a script of the push_notification "lua" driver (notifier-2.3.conf and
-- notifier-2.4.conf beside this file load it). Lua 5.1 to 5.4, nothing but Dovecot's own HTTP client.
--
-- Settings (2.3: in `plugin { … }`; 2.4: in `lua_settings { … }`):
--   notifier_url         http://127.0.0.1:5423/v1/events/dovecot   (2.3.19 resolves no names here: an address)
--   notifier_token_file  the file with the source's token; the mail processes' user must be able to read it
--   notifier_token       the token itself, instead of the file (`doveconf -n` shows it)
--   notifier_state_dir   a folder that the mail processes' user, and nobody else, may write to
--
-- What it promises:
--   * One POST {"events":[…]} per mailbox transaction; more than one only past 200 events or 256 KiB.
--   * Per-UID reports of the same kind become one event with a `uidset`; what Dovecot says twice is said once.
--   * Every event has an `id` of 128 random bits, so that a repeat is known as one.
--   * Whatever the bytes of a header, the body is valid JSON in UTF-8.
--   * All of a transaction's requests together take at most one second. After a failure nothing is tried for ten
--     seconds: by this process, and by all processes of the host that share notifier_state_dir. Dovecot makes a new
--     Lua state for every delivery, so without that folder LMTP forgets and each delivery may wait its second.
-- What it does not: keep events. What could not be sent is lost, with one line in the log; the counts in later events
-- put right what was read or removed meanwhile.

local TIME_LIMIT_TENTHS = 10      -- of a second, for all requests of one transaction, connecting included
local PAUSE_S = 10                -- after a failure
local BATCH_EVENTS_MAX = 200
local BATCH_BYTES_MAX = 256 * 1024
local RANGES_MAX = 1000           -- of one uidset; more become several events
local ARRIVALS_MAX = 5000         -- messages saved in one transaction; of the rest only the number is logged
local TEXT_BYTES_MAX = 4096       -- of one text; the rest is cut off
local LIST_MAX = 200              -- flags and keywords of one message
local IDLE_MS = 1000              -- how long a connection is kept for the next transaction

local config = nil                -- url, token, pause_file; false when it cannot be used
local modern = false              -- Dovecot 2.4: other names for the HTTP client's settings
local paused_at = nil             -- os.time() of the last failure in this Lua state

-- Text ---------------------------------------------------------------------------------------------------------

-- The length of the well-formed UTF-8 sequence at `at` (RFC 3629 section 4), or nil.
local function sequence_length(text, at)
  local a, b, c, d = text:byte(at, at + 3)
  local function tail(byte) return byte ~= nil and byte >= 0x80 and byte <= 0xBF end
  if a < 0x80 then return 1 end
  if a < 0xC2 or a > 0xF4 or not tail(b) then return nil end
  if a < 0xE0 then return 2 end
  if not tail(c) then return nil end
  if a < 0xF0 then
    -- E0 80..9F would be overlong, ED A0..BF are surrogates.
    if (a == 0xE0 and b < 0xA0) or (a == 0xED and b > 0x9F) then return nil end
    return 3
  end
  if not tail(d) or (a == 0xF0 and b < 0x90) or (a == 0xF4 and b > 0x8F) then return nil end
  return 4
end

-- At most TEXT_BYTES_MAX bytes, never ending inside a character that was whole before.
local function cut(text)
  if #text <= TEXT_BYTES_MAX then return text end
  for last = TEXT_BYTES_MAX, TEXT_BYTES_MAX - 3, -1 do
    local next_byte = text:byte(last + 1)
    if next_byte < 0x80 or next_byte > 0xBF then return text:sub(1, last) end
  end
  return text:sub(1, TEXT_BYTES_MAX)
end

-- Every byte that belongs to no UTF-8 sequence becomes U+FFFD: `from` and `to` are the header's raw bytes.
local function clean(text)
  local parts, at = {}, 1
  while true do
    local high = text:find("[\128-\255]", at)
    if not high then
      parts[#parts + 1] = text:sub(at)
      return table.concat(parts)
    end
    parts[#parts + 1] = text:sub(at, high - 1)
    local length = sequence_length(text, high)
    parts[#parts + 1] = length and text:sub(high, high + length - 1) or "\239\191\189"
    at = high + (length or 1)
  end
end

-- JSON (RFC 8259). Dovecot 2.3 has no encoder; an event is flat, and a table in it is always a list of texts. ------

local ESCAPES = { ['"'] = '\\"', ["\\"] = "\\\\", ["\n"] = "\\n", ["\r"] = "\\r", ["\t"] = "\\t" }

local function escape(character)
  return ESCAPES[character] or string.format("\\u%04x", character:byte())
end

local function encode_text(text)
  -- All but printable ASCII, less the two that JSON escapes, and the bytes of UTF-8.
  return '"' .. clean(text):gsub("[^\32\33\35-\91%]\94-\126\128-\255]", escape) .. '"'
end

local function encode_number(number)
  if number ~= number or number == math.huge or number == -math.huge then return "null" end
  -- 2.3 hands whole numbers over as floats, and they are written without a fraction.
  return string.format("%.0f", number)
end

local function encode_list(list)
  local parts = {}
  for index = 1, math.min(#list, LIST_MAX) do parts[index] = encode_text(tostring(list[index])) end
  return "[" .. table.concat(parts, ",") .. "]"
end

local function encode(value)
  local kind = type(value)
  if kind == "string" then return encode_text(value) end
  if kind == "number" then return encode_number(value) end
  if kind == "table" then return encode_list(value) end
  return tostring(value == true)
end

local function encode_event(event)
  local names, parts = {}, {}
  for name in pairs(event) do names[#names + 1] = name end
  table.sort(names)
  for index, name in ipairs(names) do parts[index] = encode_text(name) .. ":" .. encode(event[name]) end
  return "{" .. table.concat(parts, ",") .. "}"
end

-- Collecting a transaction -----------------------------------------------------------------------------------------

local ARRIVALS = { MessageNew = true, MessageAppend = true }
local OWN_EVENT = { ["\\Seen"] = true, ["\\Deleted"] = true }  -- Dovecot reports MessageRead, MessageTrash beside it

-- The order within a transaction: mailboxes, what came, what changed, what went.
local RANK = { MessageNew = 1, MessageAppend = 1, FlagsClear = 2, FlagsSet = 3, MessageRead = 4, MessageTrash = 5,
               MessageExpunge = 6 }

local function chosen(list, unwanted)
  local kept = {}
  for _, word in ipairs(list or {}) do
    if not unwanted[word] then kept[#kept + 1] = word end
  end
  return kept
end

-- One report about one UID joins those of the same kind, mailbox and flags. An empty FlagsSet or FlagsClear (Dovecot
-- sends one with every keyword, and an empty FlagsClear with every flag) is dropped.
local function join(ctx, event)
  local is_flags = event.name == "FlagsSet" or event.name == "FlagsClear"
  local flags, keywords
  if is_flags then
    flags = chosen(event.flags, event.name == "FlagsSet" and OWN_EVENT or { ["\\Recent"] = true })
    keywords = chosen(event.keywords, {})
    if #flags == 0 and #keywords == 0 then return end
  end
  local key = table.concat({ event.name, event.mailbox, string.format("%.0f", event.uid_validity or 0),
                             table.concat(flags or {}, " "), table.concat(keywords or {}, " ") }, "\n")
  local change = ctx.changes[key]
  if not change then
    change = { name = event.name, mailbox = event.mailbox, uid_validity = event.uid_validity, flags = flags,
               keywords = keywords, uids = {} }
    ctx.changes[key] = change
  end
  change.uids[#change.uids + 1] = event.uid
end

-- The sender's texts are cut; the mailbox's name is not, for it says which mailbox it is.
local function keep_arrival(ctx, event)
  if #ctx.arrivals >= ARRIVALS_MAX then
    ctx.left_out = ctx.left_out + 1
    return
  end
  for name, value in pairs(event) do
    if type(value) == "string" and name ~= "mailbox" then event[name] = cut(value) end
  end
  ctx.arrivals[#ctx.arrivals + 1] = event
end

local function collect(ctx, event)
  if not ctx.active then return end
  if ARRIVALS[event.name] then
    keep_arrival(ctx, event)
  elseif event.uid then
    join(ctx, event)
  else
    ctx.mailboxes[#ctx.mailboxes + 1] = event
  end
end

-- Sorted and merged: {{1, 3}, {7, 7}}.
local function ranges_of(uids)
  table.sort(uids)
  local ranges = {}
  for _, uid in ipairs(uids) do
    local last = ranges[#ranges]
    if last and uid <= last[2] + 1 then last[2] = uid else ranges[#ranges + 1] = { uid, uid } end
  end
  return ranges
end

-- The IMAP sequence-set (RFC 9051 section 9) of ranges first..last.
local function uidset_of(ranges, first, last)
  local parts = {}
  for index = first, last do
    local low, high = ranges[index][1], ranges[index][2]
    parts[#parts + 1] = low == high and string.format("%.0f", low) or string.format("%.0f:%.0f", low, high)
  end
  return table.concat(parts, ",")
end

local function add_change(events, change)
  local ranges = ranges_of(change.uids)
  for first = 1, #ranges, RANGES_MAX do
    local last = math.min(first + RANGES_MAX - 1, #ranges)
    local single = first == last and ranges[first][1] == ranges[first][2]
    events[#events + 1] = {
      name = change.name, mailbox = change.mailbox, uid_validity = change.uid_validity, flags = change.flags,
      keywords = change.keywords, uidset = uidset_of(ranges, first, last), uid = single and ranges[first][1] or nil,
      lowest = ranges[first][1],
    }
  end
end

local function by_rank_and_uid(one, other)
  local rank, other_rank = RANK[one.name] or 0, RANK[other.name] or 0
  if rank ~= other_rank then return rank < other_rank end
  if one.mailbox ~= other.mailbox then return one.mailbox < other.mailbox end
  return (one.lowest or one.uid or 0) < (other.lowest or other.uid or 0)
end

local function events_of(ctx)
  local events = {}
  for _, event in ipairs(ctx.arrivals) do events[#events + 1] = event end
  for _, change in pairs(ctx.changes) do add_change(events, change) end
  table.sort(events, by_rank_and_uid)
  for index, event in ipairs(ctx.mailboxes) do table.insert(events, index, event) end
  return events
end

-- What every event tells besides -----------------------------------------------------------------------------------

-- messages, unseen, uidnext, modseq and uid_validity of a mailbox as it is now; {} if it cannot be opened.
local function counts_of(user, name)
  local storage = dovecot.storage
  local box
  local fine, status = pcall(function()
    box = user:mailbox(name, storage.MAILBOX_FLAG_READONLY)
    return box:status(storage.STATUS_MESSAGES, storage.STATUS_UNSEEN, storage.STATUS_UIDNEXT,
                      storage.STATUS_UIDVALIDITY, storage.STATUS_HIGHESTMODSEQ)
  end)
  if box then pcall(function() box:free() end) end
  if not fine then return {} end
  local modseq = status.highest_modseq
  return { messages = status.messages, unseen = status.unseen, uidnext = status.uidnext,
           uid_validity = status.uidvalidity, modseq = modseq and modseq > 0 and modseq or nil }
end

-- `count` ids of 128 random bits in hex. Without the system's generator there are none: an id that might repeat would
-- make two events one.
local function random_ids(count)
  local source = io.open("/dev/urandom", "rb")
  if not source then return {} end
  local bytes = source:read(16 * count) or ""
  source:close()
  local ids = {}
  for index = 1, math.floor(#bytes / 16) do
    local raw = bytes:sub(16 * index - 15, 16 * index)
    ids[index] = raw:gsub(".", function(byte) return string.format("%02x", byte:byte()) end)
  end
  return ids
end

local WITHOUT_COUNTS = { MailboxDelete = true, MailboxSubscribe = true, MailboxUnsubscribe = true }

local function complete(ctx, events)
  local ids, counts = random_ids(#events), {}
  local now = os.date("!%Y-%m-%dT%H:%M:%SZ")
  for index, event in ipairs(events) do
    event.id, event.timestamp, event.lowest = ids[index], now, nil
    event.user, event.service, event.session = ctx.user.username, ctx.user.service, ctx.user.session_id
    if event.mailbox and not WITHOUT_COUNTS[event.name] then
      counts[event.mailbox] = counts[event.mailbox] or counts_of(ctx.user, event.mailbox)
      for name, number in pairs(counts[event.mailbox]) do
        if event[name] == nil then event[name] = number end
      end
    end
  end
end

-- The pause after a failure ----------------------------------------------------------------------------------------

-- A stamp counts for PAUSE_S and not a second longer, whatever stands in the file or the clock does.
local function is_recent(stamp)
  local age = stamp and os.time() - stamp
  return age ~= nil and age >= 0 and age <= PAUSE_S
end

local function is_paused()
  if is_recent(paused_at) then return true end
  local file = config.pause_file and io.open(config.pause_file, "r")
  if not file then return false end
  local stamp = tonumber(file:read(20) or "")
  file:close()
  return is_recent(stamp)
end

-- Written under a name nobody can guess and renamed: a reader never sees half of it, a link in its place is replaced.
local function pause()
  paused_at = os.time()
  local suffix = config.pause_file and random_ids(1)[1]
  local draft = suffix and config.pause_file .. "." .. suffix
  local file = draft and io.open(draft, "w")
  if not file then return end
  file:write(string.format("%.0f\n", paused_at))
  file:close()
  if not os.rename(draft, config.pause_file) then os.remove(draft) end
end

-- Sending ----------------------------------------------------------------------------------------------------------

-- Seconds that only go forward where the system has them; 2.3 gives Lua no clock finer than a second.
local function clock()
  if dovecot.microseconds then return dovecot.microseconds() / 1000000 end
  local file = io.open("/proc/uptime", "r")
  if not file then return os.time() end
  local seconds = tonumber((file:read(32) or ""):match("^[%d.]+"))
  file:close()
  return seconds or os.time()
end

-- Clients by their time limit in tenths of a second, kept for the life of this Lua state: Dovecot's HTTP client must not
-- be collected as garbage while one of its requests runs (2.4.1 panics), and nothing else holds on to it.
local clients = {}

local function http_client(tenths)
  if clients[tenths] then return clients[tenths] end
  local limit_ms = tenths * 100
  if modern then
    local limit = string.format("%dms", limit_ms)
    clients[tenths] = dovecot.http.client({
      request_absolute_timeout = limit, request_timeout = limit, connect_timeout = limit, request_max_attempts = "1",
      auto_retry = "no", auto_redirect = "no", max_idle_time = string.format("%dms", IDLE_MS),
    })
  else
    clients[tenths] = dovecot.http.client({
      request_absolute_timeout_msecs = limit_ms, request_timeout_msecs = limit_ms, connect_timeout_msecs = limit_ms,
      max_attempts = 1, no_auto_retry = true, no_auto_redirect = true, max_idle_time_msecs = IDLE_MS,
    })
  end
  return clients[tenths]
end

local TIMED_OUT = 9008  -- HTTP_CLIENT_REQUEST_ERROR_TIMED_OUT

-- The status of one POST within so many tenths of a second; Dovecot's own numbers from 9000 up mean that there was no
-- answer.
local function post(body, tenths)
  local fine, status = pcall(function()
    local request = http_client(tenths):request({ url = config.url, method = "POST" })
    request:add_header("Content-Type", "application/json; charset=utf-8")
    request:add_header("Authorization", "Bearer " .. config.token)
    request:set_payload(body)
    return request:submit():status()
  end)
  -- The error's text may hold the URL, and that a secret.
  return fine and status or 0
end

-- Refusals that say nothing about the next transaction: all owners foreign, a body too large, no events at all.
local ONLY_THIS = { [400] = true, [413] = true, [415] = true, [422] = true }

local REASONS = { [0] = "notifier_url cannot be used", [401] = "the token is wrong (401)",
                  [403] = "the token may not do this (403)", [404] = "notifier_url has no such path (404)" }

local function reason(status)
  return REASONS[status] or (status == TIMED_OUT and "no answer in time") or (status >= 9000 and "no connection")
    or string.format("answer %d", status)
end

-- Bodies of at most BATCH_EVENTS_MAX events and BATCH_BYTES_MAX bytes; one larger event goes alone.
local function batches_of(events)
  local batches, batch, bytes = {}, {}, 0
  for _, event in ipairs(events) do
    local text = encode_event(event)
    if #batch > 0 and (#batch >= BATCH_EVENTS_MAX or bytes + #text > BATCH_BYTES_MAX) then
      batches[#batches + 1], batch, bytes = batch, {}, 0
    end
    batch[#batch + 1], bytes = text, bytes + #text + 1
  end
  if #batch > 0 then batches[#batches + 1] = batch end
  return batches
end

local function events_in(batches, first)
  local count = 0
  for index = first, #batches do count = count + #batches[index] end
  return count
end

-- A first request that fails means that the service is in trouble: pause. A later one that runs out of time does not:
-- it answered a moment ago, and only this transaction is too large for the second it has.
local function send(batches)
  local began = clock()
  for index, batch in ipairs(batches) do
    local spent = index > 1 and math.ceil((clock() - began) * 10) or 0
    local tenths = TIME_LIMIT_TENTHS - math.max(spent, 0)
    local status = TIMED_OUT
    if tenths > 0 then status = post('{"events":[' .. table.concat(batch, ",") .. "]}", tenths) end
    if ONLY_THIS[status] then
      dovecot.i_warning(string.format("notifier: %d event(s) refused (%d)", #batch, status))
    elseif status < 200 or status > 299 then
      local pausing = index == 1 or status ~= TIMED_OUT
      if pausing then pause() end
      dovecot.i_warning(string.format("notifier: %s; %d event(s) lost%s", reason(status), events_in(batches, index),
                                      pausing and ", no attempt for " .. PAUSE_S .. " s" or ""))
      return
    end
  end
end

-- Settings ---------------------------------------------------------------------------------------------------------

local function first_line(name)
  local file = io.open(name, "r")
  if not file then return nil end
  local line = file:read(1024)
  file:close()
  return line and line:match("^%s*(%S+)")
end

local function given(value)
  if value ~= nil and value ~= "" then return value end
  return nil
end

local function configure(setting)
  local token_file = given(setting("notifier_token_file"))
  local token = token_file and first_line(token_file) or given(setting("notifier_token"))
  local url = given(setting("notifier_url"))
  if not url then
    dovecot.i_error("notifier: notifier_url is not set; nothing is reported")
    return false
  elseif not token then
    dovecot.i_error("notifier: no token: notifier_token_file is missing, empty or unreadable for this process")
    return false
  end
  local folder = given(setting("notifier_state_dir"))
  return { url = url, token = token, pause_file = folder and folder .. "/notifier-pause" }
end

-- What Dovecot calls -----------------------------------------------------------------------------------------------

function script_init(settings)
  if settings then
    modern = true
    config = configure(function(name) return settings[name] end)
  end
  return 0
end

function dovecot_lua_notify_begin_txn(user)
  if config == nil then
    config = configure(function(name) return user:plugin_getenv(name) end)
  end
  return { user = user, active = config ~= false, mailboxes = {}, arrivals = {}, changes = {}, left_out = 0 }
end

function dovecot_lua_notify_end_txn(ctx, success)
  if not success or not ctx.active or is_paused() then return end
  local events = events_of(ctx)
  if #events == 0 then return end
  complete(ctx, events)
  send(batches_of(events))
  if ctx.left_out > 0 then
    dovecot.i_warning(string.format("notifier: %d of the messages saved at once not reported", ctx.left_out))
  end
end

dovecot_lua_notify_event_message_new = collect
dovecot_lua_notify_event_message_append = collect
dovecot_lua_notify_event_message_expunge = collect
dovecot_lua_notify_event_message_read = collect
dovecot_lua_notify_event_message_trash = collect
dovecot_lua_notify_event_flags_set = collect
dovecot_lua_notify_event_flags_clear = collect
dovecot_lua_notify_event_mailbox_create = collect
dovecot_lua_notify_event_mailbox_delete = collect
dovecot_lua_notify_event_mailbox_rename = collect
dovecot_lua_notify_event_mailbox_subscribe = collect
dovecot_lua_notify_event_mailbox_unsubscribe = collect
