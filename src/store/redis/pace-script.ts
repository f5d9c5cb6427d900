/**
 * The lines as Redis keeps them: one script does everything that nodes ask for, so that each step is whole.
 *
 * Time is Redis's own, made steady: `v`, milliseconds, never goes back, and stands still where TIME steps back or leaps
 * ahead of what the asking node expects. `epoch` counts those steps, and nodes compare `v` with their own clocks within
 * one epoch only.
 *
 * Keys below `trunkline:pace`:
 * - `meta`   hash: v, skew, epoch, run (the server that wrote it), hold (no line gives slots for a window after it),
 *            beat (the latest heartbeat of anybody), far (how far the farthest node is, in milliseconds)
 * - `nodes`  zset: node, its latest heartbeat; 0: it has said goodbye
 * - `node:N` hash: ticket → its line, whether another node may go on with it, and what that one needs
 * - `line:K:s` hash: last slot, level of the bucket after it, when the next is due by plan, the same three before it,
 *            sequence, what lowered the pace, counts, the slot for which the latest ticket was told to prepare, the rule and
 *            since when
 * - `line:K:q` zset: tickets that are ready, score by priority and arrival;  `:u` those that must prepare and have not
 *            been told;  `:a` those that prepare, and those that are parked;  `:e` for which slots those prepare
 * - `line:K:t` hash: ticket → node|state|score|slot. States: w ready, u unready (slot: how long it needs to prepare),
 *            a prepares (slot: the one that it prepares for, and how long before it is told), p parked since its node
 *            does not listen, c has a slot: from then on its INVITE may have left
 * - `line:K:i` zset: ticket → when its INVITE left, or will at the latest;  `:f` slots that are free again, and for when
 * - `line:K:m` hash: INVITEs by second;  `:w` list of the latest waits
 */
import { FACTOR_MIN, SLOW_DOWN_PAUSE_MS } from '#pacing/pace.js';
import { RedisScript } from './client.js';
import { HORIZON_MS, LINES } from './pace-script-line.js';

/** A node that has not been heard of for so long is dead. */
export const DEAD_MS = 3_200;
/** Without any heartbeat for so long it was Redis that was away, and nobody is dead. */
const SILENCE_MS = 2_000;
/** TIME ahead of what the node expects by more is a step, or the request lay about: no slots for that time either way. */
const LEAP_MS = 250;
/** A slot that has passed unused is given again for so long from now, which is on its way meanwhile. */
const MOVE_MS = 10;
/** Tickets of dead nodes taken over by one run. */
const REAP_MAX = 200;

const CLOCK = `
local prefix = KEYS[1]
local request = cjson.decode(ARGV[1])
local me = request.n
local function fixed(x) return string.format('%.3f', x) end
local metaKey = prefix .. ':meta'
local meta = redis.call('HMGET', metaKey, 'v', 'skew', 'epoch', 'run', 'hold', 'beat', 'far')
local time = redis.call('TIME')
local raw = tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000
local latest = tonumber(meta[1]) or 0
local skew = tonumber(meta[2]) or 0
local epoch = tonumber(meta[3]) or 0
local hold = tonumber(meta[5]) or 0
local far = tonumber(meta[7]) or 0
local v = raw + skew
if v < latest then
  skew = skew + latest - v
  v = latest
  epoch = epoch + 1
  redis.call('HSET', metaKey, 'skew', fixed(skew), 'epoch', epoch)
elseif latest > 0 and request.x and v > request.x + ${LEAP_MS} then
  local steady = math.max(latest, request.x)
  skew = skew - (v - steady)
  v = steady
  epoch = epoch + 1
  redis.call('HSET', metaKey, 'skew', fixed(skew), 'epoch', epoch)
end
-- Tenths of a microsecond would not survive the text; what is compared must be what was written.
v = tonumber(fixed(v))
redis.call('HSET', metaKey, 'v', fixed(v))
if request.run and meta[4] ~= request.run then
  -- Another server, or one that came back: what left in the last second may be forgotten.
  hold = v
  redis.call('HSET', metaKey, 'run', request.run, 'hold', fixed(v))
end
`;

const OPS = `
-- The slot of a ticket that does not use it.
local function freeSlot(L, id, T)
  redis.call('ZREM', L.i, id)
  local slot = tonumber(T.slot)
  if L.plast and slot == L.last then
    L.last, L.level, L.due = L.plast, L.plevel, L.pdue
    L.plast, L.plevel, L.pdue = nil, nil, nil
  elseif slot > v + 1 then
    keepFree(L, id, slot)
  end
  T.slot = ''
end

-- told: the slot that it has prepared for, if any.
local function wait(L, id, T, told)
  T.state = 'w'
  T.slot = told or ''
  writeTicket(L, id, T)
  redis.call('ZADD', L.q, T.score, id)
end

local function unpark(L, id, T)
  redis.call('ZREM', L.a, id)
  wait(L, id, T, T.slot)
end

-- The slot has passed unused. It is moved to this moment, for the first in line, as long as no slot was given out that
-- counts on its having left the window (see pacing/pace.ts). Where many are lost, nodes need to hear of slots earlier: then
-- those that are moved lie farther ahead.
local function lose(L, id, T)
  redis.call('HINCRBY', L.s, 'lost', 1)
  redis.call('ZREM', L.i, id)
  local slot = tonumber(T.slot)
  local moved = math.max(v + ${MOVE_MS}, L.moved + 2 * L.interval)
  if slot > L.since + ${HORIZON_MS} and math.max(moved, L.last) < slot + L.window then
    L.moved = moved
    keepFree(L, id, moved)
  else
    L.due = L.due - L.interval
  end
  wait(L, id, T)
end

-- A slot that this node may not have heard of: again while it lies ahead, else it is lost, and counts as used: that its
-- INVITE left may be on its way here. In between it may be leaving this moment.
local function remind(L, id, T)
  local ahead = tonumber(T.slot) - v
  if ahead > 0 then
    giveSlot(L, id, T)
  elseif ahead < -500 then
    redis.call('ZADD', L.i, fixed(tonumber(T.slot) + L.tolerance), id .. '/' .. T.slot)
    redis.call('ZREM', L.i, id)
    redis.call('HINCRBY', L.s, 'lost', 1)
    L.mine.lost = (L.mine.lost or 0) + 1
    wait(L, id, T)
  end
end

local ops = {}

local function unready(L, id, T, lead)
  T.state = 'u'
  T.slot = string.format('%.0f', lead)
  writeTicket(L, id, T)
  redis.call('ZADD', L.u, T.score, id)
end

-- enqueue: id, priority, age, milliseconds to prepare or false, payload or false, score or false
function ops.e(L, op)
  local id = op[2]
  local T = readTicket(L, id)
  if T then
    if T.node ~= me then
      L.mine.taken[#L.mine.taken + 1] = id
      return
    end
    if T.state == 'p' then unpark(L, id, T) end
    if T.state == 'c' then remind(L, id, T)
    elseif T.state == 'w' and op[5] then
      redis.call('ZREM', L.q, id)
      unready(L, id, T, op[5])
    elseif T.state ~= 'w' and not op[5] then ops.r(L, op)
    end
  else
    local score = op[7]
    if not score then
      local sequence = math.floor((v - op[4]) * 16)
      if op[4] < 50 then sequence = math.max(L.seq + 1, math.floor(v * 16)) end
      L.seq = math.max(L.seq, sequence)
      score = string.format('%.0f', (9 - op[3]) * PRIORITY + sequence)
    end
    T = {node = me, state = 'w', score = score, slot = ''}
    if op[5] then unready(L, id, T, op[5]) else wait(L, id, T) end
    redis.call('HSET', prefix .. ':node:' .. me, id, L.k .. '\\n' .. (op[6] and '1' .. op[6] or '0'))
    if not op[7] and waitingCount(L) > L.max then
      advance(L)
      if waitingCount(L) > L.max then
        T = readTicket(L, id)
        if T and T.state ~= 'c' then
          ops.c(L, op)
          L.mine.full[#L.mine.full + 1] = id
          return
        end
      end
    end
  end
  L.mine.d[#L.mine.d + 1] = {id, T.score}
  L.ask[#L.ask + 1] = id
end

-- cancel: id
function ops.c(L, op)
  local T = readTicket(L, op[2])
  if not T or T.node ~= me then return end
  if T.state == 'c' then freeSlot(L, op[2], T) end
  unlink(L, op[2])
  dropTicket(L, op[2], T)
  if (T.state == 'a' or T.state == 'w') and T.slot ~= '' then prepareSooner(L) end
end

local function granted(L, op)
  local T = readTicket(L, op[2])
  if T and T.node == me and T.state == 'c' and T.slot == op[3] then return T end
end

-- sent: id, slot, late, waited
function ops.s(L, op)
  local T = readTicket(L, op[2])
  -- Said twice, it is the same; and whatever became of the slot meanwhile, the INVITE has left.
  redis.call('ZADD', L.i, fixed(tonumber(op[3]) + op[4]), op[2])
  if not T or T.node ~= me then return end
  unlink(L, op[2])
  dropTicket(L, op[2], T)
  local second = math.floor(v / 1000)
  local field = second % 64
  local count = redis.call('HGET', L.m, field)
  local at, n = string.match(count or '', '^(%d+):(%d+)$')
  n = tonumber(at) == second and tonumber(n) + 1 or 1
  redis.call('HSET', L.m, field, string.format('%.0f:%d', second, n))
  redis.call('LPUSH', L.w, string.format('%.0f:%.0f', v, op[5]))
  redis.call('LTRIM', L.w, 0, 199)
end

-- lost: id, slot
function ops.l(L, op)
  local T = granted(L, op)
  if T then lose(L, op[2], T) end
end

-- back: id, slot. Not sent; waits for ready
function ops.b(L, op)
  local T = granted(L, op)
  if not T then return end
  freeSlot(L, op[2], T)
  T.state = 'a'
  writeTicket(L, op[2], T)
  redis.call('ZADD', L.a, T.score, op[2])
end

-- ready: id
function ops.r(L, op)
  local T = readTicket(L, op[2])
  if not T or T.node ~= me then return end
  if T.state ~= 'a' and T.state ~= 'u' then return end
  local told = T.state == 'a' and T.slot or ''
  unlink(L, op[2])
  wait(L, op[2], T, told)
end

-- refused by the provider
function ops.p(L)
  redis.call('HINCRBY', L.s, 'refused', 1)
  local slow = request.slow
  if not slow or (L.lf and v - L.la < ${SLOW_DOWN_PAUSE_MS}) then return end
  local before = factorOf(L)
  L.lf = math.max(${FACTOR_MIN}, before * slow[1])
  L.la = v
  L.interval, L.peak = L.interval * before / L.lf, L.peak * before / L.lf
  redis.call('HSET', L.s, 'lf', string.format('%.6f', L.lf), 'la', fixed(v))
end

local function section(S)
  local L = openLine(S)
  L.mine = {k = S.k, g = {}, a = {}, d = {}, p = {}, full = {}, taken = {}, gone = {}}
  L.ask = S.q or {}
  for _, op in ipairs(S.o or {}) do ops[op[1]](L, op) end
  -- Slots that were given and not heard of show when their tickets are asked for; before new ones are given.
  local asked = {}
  for _, id in ipairs(L.ask) do
    if not asked[id] then
      local T = readTicket(L, id)
      if not T then L.mine.gone[#L.mine.gone + 1] = id
      elseif T.node ~= me then L.mine.taken[#L.mine.taken + 1] = id
      elseif T.state == 'c' then remind(L, id, T)
      elseif T.state == 'p' then unpark(L, id, T)
      elseif T.state == 'a' and T.slot ~= '' then tellPrepare(L, id, T)
      end
      asked[id] = T or false
    end
  end
  advance(L)
  local slot = nextSlot(L)
  local _, freeAt = firstFree(L)
  if freeAt then slot = math.min(slot, freeAt) end
  for id, T in pairs(asked) do
    if T and T.node == me then
      T = readTicket(L, id)
      if T and T.state ~= 'c' then
        local position = before(L.q, T.score) + before(L.u, T.score) + expectedBefore(L, T)
        L.mine.p[#L.mine.p + 1] = {id, position, slot - v + position * L.interval}
      end
    end
  end
  local head = redis.call('ZRANGE', L.q, 0, 0)[1]
  local note = ''
  L.mine.s = slot - v
  if head then
    note = head .. ' ' .. string.format('%.0f', slot / 20)
    local T = readTicket(L, head)
    if T and T.node == me then L.mine.h = slot - v
    elseif T and note ~= L.head then messageTo(T.node, L.k).h = slot - v
    end
  end
  L.head = note
  if L.lf then L.mine.f = factorOf(L) end
  closeLine(L)
  return L.mine
end
`;

const NODES = `
local function compact(list)
  return #list > 0 and list or nil
end

local reply = {v = fixed(v), e = epoch, lines = {}}
local nodesKey = prefix .. ':nodes'
if request.bye then
  redis.call('ZADD', nodesKey, 0, me)
elseif request.hb then
  if not redis.call('ZSCORE', nodesKey, me) then reply.unknown = 1 end
  local beat = tonumber(meta[6]) or 0
  if v - beat > ${SILENCE_MS} then
    for _, node in ipairs(redis.call('ZRANGEBYSCORE', nodesKey, 1, '+inf')) do redis.call('ZADD', nodesKey, fixed(v), node) end
  end
  far = math.max(far * 0.98, request.far or 0)
  redis.call('HSET', metaKey, 'beat', fixed(v), 'far', fixed(far))
  redis.call('ZADD', nodesKey, fixed(v), me)
  local orphans = {}
  for _, dead in ipairs(redis.call('ZRANGEBYSCORE', nodesKey, '-inf', fixed(v - ${DEAD_MS}), 'LIMIT', 0, 4)) do
    local nodeKey = prefix .. ':node:' .. dead
    local page = redis.call('HSCAN', nodeKey, 0, 'COUNT', ${REAP_MAX})[2]
    for n = 1, #page, 2 do
      local id = page[n]
      local key, kind, payload = string.match(page[n + 1], '^([^\\n]*)\\n(.)(.*)$')
      local base = prefix .. ':line:' .. key
      local L = {t = base .. ':t', q = base .. ':q', u = base .. ':u', a = base .. ':a', e = base .. ':e'}
      local T = readTicket(L, id)
      if T and T.node == dead then
        if T.state ~= 'c' and kind == '1' then
          T.node = me
          writeTicket(L, id, T)
          redis.call('HSET', prefix .. ':node:' .. me, id, page[n + 1])
          orphans[#orphans + 1] = {key, id, 'w', payload, T.score}
        else
          redis.call('HDEL', L.t, id)
          unlink(L, id)
          if kind == '1' then orphans[#orphans + 1] = {key, id, 'c', payload, T.score} end
        end
      end
      redis.call('HDEL', nodeKey, id)
    end
    if redis.call('HLEN', nodeKey) == 0 then
      redis.call('DEL', nodeKey)
      redis.call('ZREM', nodesKey, dead)
    end
  end
  reply.orphans = compact(orphans)
  reply.nodes = redis.call('ZCARD', nodesKey)
  reply.rank = redis.call('ZRANK', nodesKey, me)
end

for _, S in ipairs(request.lines) do
  local mine = section(S)
  for _, field in ipairs({'g', 'a', 'd', 'p', 'full', 'taken', 'gone'}) do mine[field] = compact(mine[field]) end
  reply.lines[#reply.lines + 1] = mine
end
for node, parts in pairs(out) do
  local lines = {}
  for _, part in pairs(parts) do
    part.g, part.a = compact(part.g), compact(part.a)
    lines[#lines + 1] = part
  end
  redis.call('PUBLISH', prefix .. ':to:' .. node, cjson.encode({v = fixed(v), e = epoch, lines = lines}))
end
if #reply.lines == 0 then reply.lines = nil end
return cjson.encode(reply)
`;

/** KEYS: the prefix. ARGV: a request as JSON. Answers JSON. */
export const PACE_SCRIPT = new RedisScript(CLOCK + LINES + OPS + NODES);

/** KEYS: the prefix. ARGV: key of a line, and what slows down as JSON or ''. Answers JSON; changes nothing. */
export const VIEW_SCRIPT = new RedisScript(`
local base = KEYS[1] .. ':line:' .. ARGV[1]
local meta = redis.call('HMGET', KEYS[1] .. ':meta', 'v', 'skew')
local time = redis.call('TIME')
local v = math.max(tonumber(meta[1]) or 0, tonumber(time[1]) * 1000 + tonumber(time[2]) / 1000 + (tonumber(meta[2]) or 0))
local waiting = {}
for priority = 0, 9 do
  local low = string.format('%.0f', (9 - priority) * 281474976710656)
  local high = '(' .. string.format('%.0f', (10 - priority) * 281474976710656)
  local count = 0
  for _, set in ipairs({':q', ':u', ':a'}) do count = count + redis.call('ZCOUNT', base .. set, low, high) end
  waiting[priority + 1] = count
end
local sent = 0
local counts = redis.call('HVALS', base .. ':m')
for _, text in ipairs(counts) do
  local second, n = string.match(text, '^(%d+):(%d+)$')
  if tonumber(second) > v / 1000 - 60 then sent = sent + tonumber(n) end
end
local waits = {}
for _, text in ipairs(redis.call('LRANGE', base .. ':w', 0, -1)) do
  local at, ms = string.match(text, '^(%d+):(%d+)$')
  if tonumber(at) > v - tonumber(ARGV[2]) then waits[#waits + 1] = tonumber(ms) end
end
local s = redis.call('HMGET', base .. ':s', 'lost', 'refused', 'lf', 'la')
return cjson.encode({waiting = waiting, sent = sent, waits = #waits > 0 and waits or nil, lost = tonumber(s[1]) or 0,
  refused = tonumber(s[2]) or 0, lf = tonumber(s[3]), since = s[4] and v - tonumber(s[4]) or nil})
`);
