/**
 * What the store does in Redis, as Lua: each script happens whole or not at all. Keys are given, except those of
 * lists of ids and lanes, which are made of a prefix that is given; so a Redis Cluster is not for this store.
 *
 *   objects            hash    <kind>/<id> → organisation version createdAt updatedAt, a line feed, the document
 *   versions           zset    <kind>/<id> by version, deleted ones too
 *   deletions          zset    <kind>/<id> by version, deleted ones only
 *   ids:<kind>         zset    ids, all with score 0: in order of their bytes
 *   owned:<org>:<kind> zset    the same of one organisation
 *   state              hash    sequence, floor, schema
 */
import { RedisScript } from './client.js';

/** KEYS objects versions deletions state; ARGV prefix, channel, … */
const COMMON = `
local objects, versions, deletions, state = KEYS[1], KEYS[2], KEYS[3], KEYS[4]
local prefix, channel = ARGV[1], ARGV[2]
local function ids(kind) return prefix .. 'ids:' .. kind end
local function owned(organization, kind) return prefix .. 'owned:' .. organization .. ':' .. kind end
local function count(name) return tonumber(redis.call('HGET', state, name) or '0') end
local function whole(number) return string.format('%.0f', number) end
local function head(stored)
  local organization, version, created = string.match(stored, '^(%S+) (%d+) (%d+)')
  return organization, tonumber(version), created
end
local function keep(kind, id, organization, sequence, created, updated, document)
  local key = kind .. '/' .. id
  redis.call('HSET', objects, key, table.concat({organization, whole(sequence), created, updated}, ' ') .. '\\n' .. document)
  redis.call('ZADD', versions, whole(sequence), key)
  redis.call('ZADD', ids(kind), 0, id)
  redis.call('ZADD', owned(organization, kind), 0, id)
end
`;

/**
 * ARGV: prefix, channel, now, ifSequence or '', deletions kept, and the changes as JSON: arrays of kind, id, expected
 * ('any', 'absent' or a version as text), organisation (escaped), document or ''.
 * Answers ['committed', sequence, created times…] · ['stale', sequence] · ['conflict', index, version, …].
 */
export const TRANSACTION = new RedisScript(`${COMMON}
local now, ifSequence, kept = ARGV[3], ARGV[4], tonumber(ARGV[5])
local sequence = count('sequence')
if ifSequence ~= '' and tonumber(ifSequence) ~= sequence then return {'stale', sequence} end
local changes = cjson.decode(ARGV[6])
local before, born, conflicts = {}, {}, {'conflict'}
for i, change in ipairs(changes) do
  local stored = redis.call('HGET', objects, change[1] .. '/' .. change[2])
  local version = 0
  if stored then before[i], version, born[i] = head(stored) end
  local expected = change[3]
  local met = expected == 'any' or (expected == 'absent' and version == 0) or tonumber(expected) == version
  if not met then
    conflicts[#conflicts + 1] = i - 1
    conflicts[#conflicts + 1] = version
  end
end
if #conflicts > 1 then return conflicts end
sequence = sequence + 1
local answer = {'committed', sequence}
for i, change in ipairs(changes) do
  local kind, id, organization, document = change[1], change[2], change[4], change[5]
  local key = kind .. '/' .. id
  if before[i] and (document == '' or before[i] ~= organization) then
    redis.call('ZREM', owned(before[i], kind), id)
  end
  if document == '' then
    redis.call('HDEL', objects, key)
    redis.call('ZREM', ids(kind), id)
    redis.call('ZADD', versions, whole(sequence), key)
    redis.call('ZADD', deletions, whole(sequence), key)
    answer[i + 2] = '0'
  else
    if not before[i] then redis.call('ZREM', deletions, key) end
    answer[i + 2] = born[i] or now
    keep(kind, id, organization, sequence, answer[i + 2], now, document)
  end
end
local surplus = redis.call('ZCARD', deletions) - kept
if surplus > 0 then
  local last = surplus + math.floor(kept / 10) - 1
  local floor = redis.call('ZRANGE', deletions, last, last, 'WITHSCORES')[2]
  -- All of one transaction go together.
  for _, key in ipairs(redis.call('ZRANGEBYSCORE', deletions, '-inf', floor)) do
    redis.call('ZREM', versions, key)
  end
  redis.call('ZREMRANGEBYSCORE', deletions, '-inf', floor)
  redis.call('HSET', state, 'floor', floor)
end
redis.call('HSET', state, 'sequence', whole(sequence))
redis.call('PUBLISH', channel, whole(sequence))
return answer
`);

/** ARGV: prefix, channel, after. Answers ['lost'] · ['changes', sequence, key, version, stored or '', …]. */
export const CHANGES = new RedisScript(`${COMMON}
local after, sequence = tonumber(ARGV[3]), count('sequence')
if after < count('floor') or after > sequence then return {'lost'} end
local answer = {'changes', sequence}
local changed = redis.call('ZRANGEBYSCORE', versions, '(' .. ARGV[3], '+inf', 'WITHSCORES')
for i = 1, #changed, 2 do
  answer[#answer + 1] = changed[i]
  answer[#answer + 1] = changed[i + 1]
  answer[#answer + 1] = redis.call('HGET', objects, changed[i]) or ''
end
return answer
`);

/** ARGV: prefix, channel, kind, organisation or '', after or '', limit. Answers id, stored, … in order of ids. */
export const LIST = new RedisScript(`${COMMON}
local kind, organization, after, limit = ARGV[3], ARGV[4], ARGV[5], ARGV[6]
local index = organization == '' and ids(kind) or owned(organization, kind)
local from = after == '' and '-' or ('(' .. after)
local answer = {}
for _, id in ipairs(redis.call('ZRANGEBYLEX', index, from, '+', 'LIMIT', 0, limit)) do
  answer[#answer + 1] = id
  answer[#answer + 1] = redis.call('HGET', objects, kind .. '/' .. id) or ''
end
return answer
`);

/**
 * Puts what was gathered in a staging hash (<kind>/<id> → organisation createdAt updatedAt, a line feed, the document)
 * in the place of everything. KEYS: the staging hash is the fifth; ARGV: prefix, channel, how many there must be.
 */
export const REPLACE = new RedisScript(`${COMMON}
local staging = KEYS[5]
if redis.call('HLEN', staging) ~= tonumber(ARGV[3]) then return {'incomplete'} end
for _, key in ipairs(redis.call('HKEYS', objects)) do
  local kind, id = string.match(key, '^([^/]*)/(.*)$')
  redis.call('ZREM', ids(kind), id)
  redis.call('ZREM', owned((head(redis.call('HGET', objects, key))), kind), id)
end
redis.call('DEL', objects, versions, deletions)
local sequence = count('sequence') + 1
for _, key in ipairs(redis.call('HKEYS', staging)) do
  local kind, id = string.match(key, '^([^/]*)/(.*)$')
  local organization, created, updated, document = string.match(redis.call('HGET', staging, key), '^(%S+) (%d+) (%d+)\\n(.*)$')
  keep(kind, id, organization, sequence, created, updated, document)
end
redis.call('DEL', staging)
redis.call('HSET', state, 'sequence', whole(sequence), 'floor', whole(sequence))
redis.call('PUBLISH', channel, whole(sequence))
return {'replaced', sequence}
`);

/** KEYS values expiries; ARGV: mode, key, value, ttl, most entries. Times are Redis's own, so that all nodes agree. */
export const MEMORY = new RedisScript(`
local values, expiries = KEYS[1], KEYS[2]
local mode, key, value, ttl, most = ARGV[1], ARGV[2], ARGV[3], tonumber(ARGV[4]), tonumber(ARGV[5])
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
local expiry = tonumber(redis.call('ZSCORE', expiries, key) or '0')
local there = expiry > now and redis.call('HGET', values, key) or false
if mode == 'recall' then return there end
local function drop(name)
  redis.call('HDEL', values, name)
  redis.call('ZREM', expiries, name)
end
if mode == 'forget' then
  drop(key)
  return there
end
if mode == 'remember' and there then return there end
for _, old in ipairs(redis.call('ZRANGEBYSCORE', expiries, '-inf', now, 'LIMIT', 0, 20)) do drop(old) end
redis.call('HSET', values, key, value)
redis.call('ZADD', expiries, now + ttl, key)
local surplus = redis.call('ZCARD', expiries) - most
if surplus > 0 then
  for _, old in ipairs(redis.call('ZRANGE', expiries, 0, surplus)) do
    if old ~= key then drop(old) end
  end
end
return false
`);

/**
 * KEYS: items (hash), due (zset of lane heads); ARGV: mode, prefix of lanes, … A lane is a list of ids; only its first
 * stands in `due`.
 */
export const QUEUE = new RedisScript(`
local items, due = KEYS[1], KEYS[2]
local mode, lanes = ARGV[1], ARGV[2]
local time = redis.call('TIME')
local now = tonumber(time[1]) * 1000 + math.floor(tonumber(time[2]) / 1000)
if mode == 'add' then
  local most = tonumber(ARGV[3])
  if redis.call('HLEN', items) + (#ARGV - 3) / 3 > most then return 0 end
  for i = 4, #ARGV, 3 do
    local id, lane, payload = ARGV[i], ARGV[i + 1], ARGV[i + 2]
    if redis.call('HEXISTS', items, id) == 0 then
      redis.call('HSET', items, id, cmsgpack.pack({lane, payload, tostring(now), 0}))
      if redis.call('RPUSH', lanes .. lane, id) == 1 then redis.call('ZADD', due, now, id) end
    end
  end
  return 1
end
if mode == 'claim' then
  local answer = {}
  for _, id in ipairs(redis.call('ZRANGEBYSCORE', due, '-inf', now, 'LIMIT', 0, ARGV[3])) do
    local item = cmsgpack.unpack(redis.call('HGET', items, id))
    item[4] = item[4] + 1
    redis.call('HSET', items, id, cmsgpack.pack(item))
    redis.call('ZADD', due, now + tonumber(ARGV[4]), id)
    answer[#answer + 1] = id
    for part = 1, 4 do answer[#answer + 1] = item[part] end
  end
  return answer
end
local stored = redis.call('HGET', items, ARGV[3])
if not stored then return 0 end
if mode == 'postpone' then
  if redis.call('ZSCORE', due, ARGV[3]) then redis.call('ZADD', due, now + tonumber(ARGV[4]), ARGV[3]) end
  return 1
end
local lane = lanes .. cmsgpack.unpack(stored)[1]
redis.call('HDEL', items, ARGV[3])
redis.call('ZREM', due, ARGV[3])
redis.call('LREM', lane, 1, ARGV[3])
local head = redis.call('LINDEX', lane, 0)
if head and not redis.call('ZSCORE', due, head) then redis.call('ZADD', due, now, head) end
return 1
`);
