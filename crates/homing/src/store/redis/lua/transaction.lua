-- Every script is this file, behind a line that says what the server may do with it, the other files of shared functions, and one verb. See `script.rs`.
--
-- A script has no rollback: what it has written before it fails stays written. So nothing is written before
-- everything is read and decided. Reads go through the functions of this file, which remember what they have
-- read; writes are only remembered, and later reads see them. `commit`, the last call of each verb, writes all
-- of it, one command per key and kind of write, and can no longer fail.
--
-- Numbers: an instant in microseconds does not survive `tostring` or `..`, so numbers travel in MessagePack,
-- by `struct.pack`, or straight to `redis.call`. `unpack` takes 7,999 values at most, hence the slices.

local SLICE = 1000
local K = {}
for index, name in ipairs({
  'meta', 'ready', 'classes', 'timers', 'running', 'workers', 'leases', 'notices', 'cascades',
  'jobs', 'ids', 'settled', 'out', 'keys', 'paused', 'kinds', 'fence', 'over', 'retries',
  'failed',
}) do
  K[name] = KEYS[index]
end
-- What the names of the lane's keys begin with: its hash tag and a colon.
local LANE = string.sub(KEYS[1], 1, -5)
local asked = cmsgpack.unpack(ARGV[1])

local now = asked[1]
if not now then
  local time = redis.call('TIME')
  now = tonumber(time[1]) * 1000000 + tonumber(time[2])
end

-- Bytes in their order. Lua's `<` compares by the server's locale.
local function less(a, b)
  for at = 1, math.min(#a, #b) do
    local x, y = string.byte(a, at), string.byte(b, at)
    if x ~= y then
      return x < y
    end
  end
  return #a < #b
end

-- Sorts strings by their bytes. Strings of one length are compared six bytes at a time, as numbers, and only where they
-- differ: what a body spawns at once differs in its number alone, and comparing byte by byte took a third of a second for
-- 4,096 of them.
local sort = (function()
  local formats = {}

  local function format_of(length)
    local format = formats[length]
    if not format then
      local rest = length % 6
      format = '>' .. string.rep('I6', (length - rest) / 6) .. (rest > 0 and string.format('I%d', rest) or '')
      formats[length] = format
    end
    return format
  end

  -- Columns in which not all are alike.
  local function differing(list, numbers, columns)
    local found = {}
    for column = 1, columns do
      local first = numbers[list[1]][column]
      for at = 2, #list do
        if numbers[list[at]][column] ~= first then
          found[#found + 1] = column
          break
        end
      end
    end
    return found
  end

  return function(list)
    local length = #(list[1] or '')
    local format, numbers = format_of(length), {}
    for _, text in ipairs(list) do
      if #text ~= length then
        table.sort(list, less)
        return
      end
      numbers[text] = { struct.unpack(format, text) }
    end
    local columns = differing(list, numbers, math.ceil(length / 6))
    local function is_before(a, b)
      local x, y = numbers[a], numbers[b]
      for _, column in ipairs(columns) do
        if x[column] ~= y[column] then
          return x[column] < y[column]
        end
      end
      return false
    end
    for at = 2, #list do
      if is_before(list[at], list[at - 1]) then
        table.sort(list, is_before)
        return
      end
    end
  end
end)()

-- Hashes -------------------------------------------------------------------------------------------------

local read, dirty = {}, {}

local function fields_of(key)
  local fields = read[key]
  if not fields then
    fields = {}
    read[key] = fields
  end
  return fields
end

-- Reads many fields by one command, those that are not known yet. A field that is not there is `false`.
local function load(key, names)
  local fields, missing = read[key], names
  if fields then
    missing = {}
    for _, name in ipairs(names) do
      if fields[name] == nil then
        missing[#missing + 1] = name
      end
    end
  else
    fields = {}
    read[key] = fields
  end
  for from = 1, #missing, SLICE do
    local to = math.min(from + SLICE - 1, #missing)
    local values = redis.call('HMGET', key, unpack(missing, from, to))
    for at = from, to do
      fields[missing[at]] = values[at - from + 1]
    end
  end
end

local function get(key, name)
  local fields = fields_of(key)
  local value = fields[name]
  if value == nil then
    value = redis.call('HGET', key, name)
    fields[name] = value
  end
  return value
end

-- `false` deletes the field.
local function put(key, name, value)
  fields_of(key)[name] = value
  local names = dirty[key]
  if not names then
    names = {}
    dirty[key] = names
  end
  names[name] = true
end

-- Values of fields that nobody reads again in this script, as names and values in turn.
local written = {}

-- To be written once by one script.
local function write(key, name, value)
  local list = written[key]
  if list then
    local at = #list
    list[at + 1], list[at + 2] = name, value
  else
    written[key] = { name, value }
  end
end

-- All fields of a small hash.
local function all(key)
  local pairs_read = redis.call('HGETALL', key)
  local fields = fields_of(key)
  for at = 1, #pairs_read, 2 do
    if fields[pairs_read[at]] == nil then
      fields[pairs_read[at]] = pairs_read[at + 1]
    end
  end
  return fields
end

-- Sorted sets --------------------------------------------------------------------------------------------

local changes = {}

local function changes_of(key)
  local own = changes[key]
  if not own then
    own = { add = {}, del = {}, count = 0, order = {} }
    changes[key] = own
  end
  return own
end

local function zadd(key, member, score)
  local own = changes_of(key)
  if own.add[member] == nil then
    own.order[#own.order + 1] = member
  end
  own.add[member], own.del[member] = score, nil
  own.count = own.count + 1
end

-- Members that no script reads that adds them: scores and members in turn.
local members = {}

local function append(key, member, score)
  local list = members[key]
  if list then
    local at = #list
    list[at + 1], list[at + 2] = score, member
  else
    members[key] = { score, member }
  end
end

local function zrem(key, member)
  local own = changes_of(key)
  own.is_taken = own.is_taken or own.add[member] ~= nil
  own.add[member], own.del[member] = nil, true
  own.count = own.count + 1
end

-- The first members with scores up to a bound, and their scores, in order.
local function by_score(key, bound, limit)
  local own = changes_of(key)
  local found = {}
  local rows = redis.call(
    'ZRANGEBYSCORE', key, '-inf', bound, 'WITHSCORES', 'LIMIT', 0, limit + own.count
  )
  for at = 1, #rows, 2 do
    local member = rows[at]
    if not own.del[member] and not own.add[member] then
      found[#found + 1] = { member, tonumber(rows[at + 1]) }
    end
  end
  for member, score in pairs(own.add) do
    if score <= bound then
      found[#found + 1] = { member, score }
    end
  end
  table.sort(found, function(a, b)
    if a[2] ~= b[2] then
      return a[2] < b[2]
    end
    return less(a[1], b[1])
  end)
  while #found > limit do
    table.remove(found)
  end
  return found
end

local LAST = string.rep('\255', 64)

-- Members that begin alike, in order, at most so many.
local function by_prefix(key, prefix, limit)
  local own = changes_of(key)
  local found = {}
  local rows = redis.call(
    'ZRANGEBYLEX', key, '[' .. prefix, '[' .. prefix .. LAST, 'LIMIT', 0, limit + own.count
  )
  for _, member in ipairs(rows) do
    if not own.del[member] and not own.add[member] then
      found[#found + 1] = member
    end
  end
  for member in pairs(own.add) do
    if string.sub(member, 1, #prefix) == prefix then
      found[#found + 1] = member
    end
  end
  sort(found)
  while #found > limit do
    table.remove(found)
  end
  return found
end

-- Other keys ---------------------------------------------------------------------------------------------

-- Sets of tasks that wait for a job: `watching[job][task]`, and those that are forgotten.
local watching, unwatched, woken = {}, {}, {}
-- Lines of a job's log: the length that the list has, lines to be added, and lines to be written over.
local logs = {}
-- The identities of lines: by key, those that are known and those that are new.
local identities = {}
local unlinked = {}

local function log_of(job)
  local log = logs[job]
  if not log then
    log = { length = redis.call('LLEN', LANE .. 'g:' .. job), new = {}, over = {} }
    log.old = log.length
    logs[job] = log
  end
  return log
end

-- Adds an identity to a job's lines. Whether it is new.
local function identify(job, identity)
  local own = identities[job]
  if not own then
    own = {}
    identities[job] = own
  end
  if own[identity] == nil then
    local known = redis.call('SISMEMBER', LANE .. 'k:' .. job, identity)
    own[identity] = known == 0
    return known == 0
  end
  return false
end

-- Tasks that wait for a job, a bounded number of them, and whether these are all.
local function watchers(job)
  local found, all_there = {}, true
  if not unwatched[job] then
    local key = LANE .. 'w:' .. job
    local is_many = redis.call('SCARD', key) > SLICE
    for _, id in ipairs(redis.call('SRANDMEMBER', key, SLICE)) do
      found[id] = true
    end
    all_there = not is_many
  end
  for id in pairs(watching[job] or {}) do
    found[id] = true
  end
  return found, all_there
end

-- They wait no longer.
local function forget_watchers(job, found, all_there)
  watching[job] = nil
  if all_there then
    unwatched[job] = true
  else
    woken[job] = found
  end
end

-- A stored value, or nil if it does not decode: that is for its own task to suffer from.
local function decode(blob)
  local fits, value = pcall(cmsgpack.unpack, blob)
  return fits and type(value) == 'table' and value or nil
end

-- What others hear -----------------------------------------------------------------------------------------

local told = { ready = false, noticed = false, ended = {}, swept = {}, follows = {}, old = {}, retries = {} }

-- Writing ------------------------------------------------------------------------------------------------

-- In a function of its own, since one function has 200 local names at most.
local write_all = (function()
  -- One command for a list, or several if it is long. Each value takes so many places.
  local function in_slices(command, key, values, width)
    if #values <= SLICE then
      if #values > 0 then
        redis.call(command, key, unpack(values))
      end
      return
    end
    local step = SLICE - SLICE % width
    for from = 1, #values, step do
      redis.call(command, key, unpack(values, from, math.min(from + step - 1, #values)))
    end
  end

  local function write_hashes()
    for key, names in pairs(dirty) do
      local fields, del = read[key], nil
      for name in pairs(names) do
        local value = fields[name]
        if value then
          write(key, name, value)
        else
          del = del or {}
          del[#del + 1] = name
        end
      end
      if del then
        in_slices('HDEL', key, del, 1)
      end
    end
    for key, list in pairs(written) do
      in_slices('HSET', key, list, 2)
    end
  end

  local function write_sorted_sets()
    for key, own in pairs(changes) do
      local add, del, at = {}, {}, 0
      for member in pairs(own.del) do
        del[#del + 1] = member
      end
      for member, score in pairs(own.add) do
        add[at + 1], add[at + 2], at = score, member, at + 2
      end
      in_slices('ZREM', key, del, 1)
      in_slices('ZADD', key, add, 2)
    end
    for key, list in pairs(members) do
      in_slices('ZADD', key, list, 2)
    end
  end

  local function write_logs()
    for job, log in pairs(logs) do
      in_slices('RPUSH', LANE .. 'g:' .. job, log.new, 1)
      for index, line in pairs(log.over) do
        redis.call('LSET', LANE .. 'g:' .. job, index, line)
      end
    end
    for job, own in pairs(identities) do
      local new = {}
      for identity, fresh in pairs(own) do
        if fresh then
          new[#new + 1] = identity
        end
      end
      in_slices('SADD', LANE .. 'k:' .. job, new, 1)
    end
  end

  local function write_watchers()
    for job in pairs(unwatched) do
      redis.call('UNLINK', LANE .. 'w:' .. job)
    end
    for job, tasks in pairs(woken) do
      local gone = {}
      for id in pairs(tasks) do
        gone[#gone + 1] = id
      end
      in_slices('SREM', LANE .. 'w:' .. job, gone, 1)
    end
    for job, tasks in pairs(watching) do
      for id in pairs(tasks) do
        redis.call('SADD', LANE .. 'w:' .. job, id)
      end
    end
  end

  return function()
    write_hashes()
    write_sorted_sets()
    write_logs()
    write_watchers()
  end
end)()
