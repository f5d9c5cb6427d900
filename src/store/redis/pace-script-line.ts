/**
 * Part of the pacing script (`pace-script.ts`, which says what its keys are): how a line is read and written, when its next
 * slot is, who gets it, and who is told to prepare. Lua; what it uses of `v`, `far`, `prefix`, `me`, `request` is
 * there before it.
 */

import { ASIDE_GRACE_MS, CREDIT_MS } from '#pacing/pace.js';

/** Slots are given out so far ahead. What has one is not overtaken any more. */
export const HORIZON_MS = 200;
/**
 * Who is to prepare is told so long ahead at least, with the time to wait: the heartbeats of the nodes are often enough for
 * that, and no requests are needed for it.
 */
const PREPARE_AHEAD_MS = 1_100;
/** Those that prepare a little sooner because one before them has gone. */
const SOONER_MAX = 64;
/** Slots given out by one run: a script keeps all others waiting. */
const SLOTS_MAX = 500;
/** A little more than the window of any limit from one per second up. */
const REMEMBERED_MS = 2_100;
/** Lines that nobody uses are forgotten after a day. */
const EXPIRE_SECONDS = 86_400;

export const LINES = `
local PRIORITY = 281474976710656 -- 2^48
local out = {}
local function messageTo(node, key)
  local lines = out[node]
  if lines == nil then lines = {}; out[node] = lines end
  local part = lines[key]
  if part == nil then part = {k = key, g = {}, a = {}}; lines[key] = part end
  return part
end
local function tell(L, T)
  if T.node == me then return L.mine end
  return messageTo(T.node, L.k)
end

local function readTicket(L, id)
  local text = redis.call('HGET', L.t, id)
  if not text then return nil end
  local node, state, score, slot = string.match(text, '^([^|]*)|(.)|([^|]*)|([^|]*)$')
  return {node = node, state = state, score = score, slot = slot}
end
local function writeTicket(L, id, T)
  redis.call('HSET', L.t, id, T.node .. '|' .. T.state .. '|' .. T.score .. '|' .. T.slot)
end
local function unlink(L, id)
  redis.call('ZREM', L.q, id)
  redis.call('ZREM', L.u, id)
  redis.call('ZREM', L.a, id)
  redis.call('ZREM', L.e, id)
end
local function dropTicket(L, id, T)
  redis.call('HDEL', L.t, id)
  redis.call('HDEL', prefix .. ':node:' .. T.node, id)
end

local function factorOf(L)
  if L.lf == nil then return 1 end
  local slow = L.slow
  if slow == nil then return L.lf end
  local climbing = v - L.la - slow[2]
  if climbing < 0 then return L.lf end
  if climbing >= slow[3] then return 1 end
  local step = math.floor(climbing * 6 / slow[3]) + 1
  return math.min(1, L.lf + (1 - L.lf) * step / 7)
end

local function openLine(section)
  local base = prefix .. ':line:' .. section.k
  local L = {k = section.k, s = base .. ':s', q = base .. ':q', u = base .. ':u', a = base .. ':a', e = base .. ':e', t = base .. ':t',
    i = base .. ':i', f = base .. ':f', m = base .. ':m', w = base .. ':w', slow = request.slow}
  local s = redis.call('HMGET', L.s, 'last', 'level', 'plast', 'plevel', 'seq', 'lf', 'la', 'hold', 'x', 'head', 'prep',
    'due', 'pdue', 'rule', 'since', 'moved')
  L.last = tonumber(s[1]) or 0
  L.level = tonumber(s[2]) or 0
  L.plast = tonumber(s[3])
  L.plevel = tonumber(s[4])
  L.seq = tonumber(s[5]) or 0
  L.lf = tonumber(s[6])
  L.la = tonumber(s[7])
  L.hold = tonumber(s[8]) or 0
  L.x = tonumber(s[9]) or 0
  L.head = s[10] or ''
  L.prep = tonumber(s[11]) or 0
  L.due = tonumber(s[12]) or 0
  L.pdue = tonumber(s[13])
  L.interval, L.peak, L.burst, L.count, L.window, L.tolerance, L.max = unpack(section.r)
  L.tolerance = L.tolerance + far
  -- Nobody waited: nothing is to be made up for.
  if L.head == '' then L.due = math.max(L.due, v) end
  L.rule = string.format('%.0f/%.3f', L.count, L.window)
  L.since = tonumber(s[15]) or 0
  L.moved = tonumber(s[16]) or 0
  if s[14] ~= L.rule then
    -- Slots that were given out under another rule are not moved, and what it was behind is not made up for.
    redis.call('DEL', L.f)
    L.since = v
    L.due = math.max(L.due, v)
  end
  if L.lf then
    local factor = factorOf(L)
    if factor >= 1 then
      redis.call('HDEL', L.s, 'lf', 'la')
      L.lf = nil
    else
      L.interval, L.peak = L.interval / factor, L.peak / factor
    end
  end
  if section.w then L.hold = math.max(L.hold, v + L.window) end
  if hold > 0 then
    -- One that had its slot may have left as late as it might; where a window has room for one, it matters.
    local after = L.count == 1 and ${HORIZON_MS} + L.tolerance or 0
    L.hold = math.max(L.hold, hold + L.window + after)
  end
  return L
end

local function closeLine(L)
  local fields = {'last', fixed(L.last), 'level', string.format('%.6f', L.level), 'seq', string.format('%.0f', L.seq),
    'hold', fixed(L.hold), 'head', L.head, 'prep', fixed(L.prep), 'due', fixed(L.due), 'rule', L.rule, 'since', fixed(L.since),
    'moved', fixed(L.moved)}
  if L.plast then
    fields[#fields + 1] = 'plast'; fields[#fields + 1] = fixed(L.plast)
    fields[#fields + 1] = 'plevel'; fields[#fields + 1] = string.format('%.6f', L.plevel)
    fields[#fields + 1] = 'pdue'; fields[#fields + 1] = fixed(L.pdue)
  else
    redis.call('HDEL', L.s, 'plast', 'plevel', 'pdue')
  end
  local expire = v - L.x > 60000
  if expire then fields[#fields + 1] = 'x'; fields[#fields + 1] = fixed(v) end
  redis.call('HSET', L.s, unpack(fields))
  if expire then
    for _, key in ipairs({L.s, L.q, L.u, L.a, L.e, L.t, L.i, L.m, L.w}) do redis.call('EXPIRE', key, ${EXPIRE_SECONDS}) end
  end
end

local function nextSlot(L)
  -- A plan that was made for a lower limit is not for this one.
  local due = math.min(L.due, L.last + L.burst * L.interval) - (L.burst - 1) * L.interval
  local slot = math.max(v, L.hold, L.last + math.max(0, L.level - (L.burst - 1)) * L.peak, due)
  local oldest = redis.call('ZREVRANGE', L.i, L.count - 1, L.count - 1, 'WITHSCORES')
  if oldest[2] then slot = math.max(slot, tonumber(oldest[2]) + L.window) end
  return slot
end

-- Slots that are free again go first. They count as if they were used.
local function keepFree(L, id, slot)
  redis.call('ZADD', L.f, fixed(slot), id)
  redis.call('ZADD', L.i, fixed(slot + L.tolerance), '/' .. id)
end

-- Takes one out again.
local function takeFree(L, id)
  redis.call('ZREM', L.f, id)
  redis.call('ZREM', L.i, '/' .. id)
end

-- The next of them: whose it was, and when it is.
local function firstFree(L)
  local free = redis.call('ZRANGE', L.f, 0, 0, 'WITHSCORES')
  while free[1] and tonumber(free[2]) <= v do
    takeFree(L, free[1])
    L.due = L.due - L.interval
    free = redis.call('ZRANGE', L.f, 0, 0, 'WITHSCORES')
  end
  return free[1], tonumber(free[2])
end

local function waitingCount(L)
  return redis.call('ZCARD', L.q) + redis.call('ZCARD', L.u) + redis.call('ZCARD', L.a)
end

local function before(set, score)
  return redis.call('ZCOUNT', set, '-inf', '(' .. score)
end

-- Its node is told of the slot that it has, and counts as using it as late as it may.
local function giveSlot(L, id, T)
  local slot = tonumber(T.slot)
  redis.call('ZADD', L.i, fixed(slot + L.tolerance), id)
  local m = tell(L, T)
  m.g[#m.g + 1] = {id, slot - v, T.slot, L.tolerance}
end

local function grant(L, id, T, slot)
  redis.call('ZREM', L.q, id)
  T.state = 'c'
  T.slot = fixed(slot)
  writeTicket(L, id, T)
  giveSlot(L, id, T)
end

local present = {}
-- A node that has just died does not listen any more. What was given to it would be lost, and its calls with it, since
-- their INVITEs might have left.
local function listens(node)
  if node == me then return true end
  if present[node] == nil then
    present[node] = redis.call('PUBSUB', 'NUMSUB', prefix .. ':to:' .. node)[2] > 0
  end
  return present[node]
end

-- Until its node asks for it again, or another takes it over.
local function park(L, id, T)
  redis.call('ZREM', L.q, id)
  redis.call('ZADD', L.a, T.score, id)
  T.state = 'p'
  writeTicket(L, id, T)
end

-- The slot that a ticket prepares for, and how long before it is told.
local function preparing(T)
  local slot, lead = string.match(T.slot, '^([^/]+)/(.+)$')
  return tonumber(slot) or 0, tonumber(lead) or 0
end

local function tellPrepare(L, id, T)
  local slot, lead = preparing(T)
  local m = tell(L, T)
  m.a[#m.a + 1] = {id, math.max(0, slot - lead - v), slot - v}
end

-- Those that prepare and go before a ticket; who has let its slot pass by much is waited for by nobody.
local function expectedBefore(L, T)
  local limit = '+inf'
  if T.state == 'a' and T.slot ~= '' then limit = '(' .. fixed((preparing(T))) end
  return math.min(before(L.a, T.score), redis.call('ZCOUNT', L.e, fixed(v - ${ASIDE_GRACE_MS}), limit))
end

-- Those before it that prepare have a slot each, whether they use it or not: so as many agents are rung as there are slots,
-- however long they take to answer. Those that have got ready meanwhile are waited for.
local function prepare(L, first)
  for _ = 1, ${SLOTS_MAX} do
    local id = redis.call('ZRANGE', L.u, 0, 0)[1]
    if not id then return end
    local T = readTicket(L, id)
    if T == nil then
      redis.call('ZREM', L.u, id)
    else
      local lead = tonumber(T.slot) or 0
      local slot = math.max(L.prep + L.interval, first + before(L.q, T.score) * L.interval)
      if slot - lead > v + ${PREPARE_AHEAD_MS} then return end
      L.prep = slot
      redis.call('ZREM', L.u, id)
      redis.call('ZADD', L.a, T.score, id)
      redis.call('ZADD', L.e, fixed(slot), id)
      T.state = 'a'
      T.slot = fixed(slot) .. '/' .. fixed(lead)
      writeTicket(L, id, T)
      tellPrepare(L, id, T)
    end
  end
end

-- One that had been told to prepare goes: those that have not been told yet are told sooner.
local function prepareSooner(L)
  L.prep = L.prep - L.interval
  for _, id in ipairs(redis.call('ZREVRANGE', L.a, 0, ${SOONER_MAX - 1})) do
    local T = readTicket(L, id)
    if T and T.state == 'a' and T.slot ~= '' then
      local slot, lead = preparing(T)
      if slot - lead <= v then return end
      redis.call('ZADD', L.e, fixed(slot - L.interval), id)
      T.slot = fixed(slot - L.interval) .. '/' .. fixed(lead)
      writeTicket(L, id, T)
      tellPrepare(L, id, T)
    end
  end
end

local function advance(L)
  for _ = 1, ${SLOTS_MAX} do
    local id = redis.call('ZRANGE', L.q, 0, 0)[1]
    if not id then break end
    local free, freeAt = firstFree(L)
    local slot = nextSlot(L)
    if free and freeAt <= slot then slot = freeAt else free = nil end
    if slot > v + ${HORIZON_MS} then break end
    local T = readTicket(L, id)
    if T == nil then
      redis.call('ZREM', L.q, id)
    elseif not listens(T.node) then
      park(L, id, T)
    else
      if free then
        takeFree(L, free)
      else
        L.plast, L.plevel, L.pdue = L.last, L.level, L.due
        L.level = math.max(0, L.level - math.max(0, slot - L.last) / L.peak) + 1
        L.last = tonumber(fixed(slot))
        L.due = math.max(L.due, slot - ${CREDIT_MS}) + L.interval
      end
      grant(L, id, T, slot)
    end
  end
  -- By time and not by the limit, which may be raised again at once; and the latest, for limits below 1.
  local latest = tonumber(redis.call('ZREVRANGE', L.i, 0, 0, 'WITHSCORES')[2]) or 0
  redis.call('ZREMRANGEBYSCORE', L.i, '-inf', '(' .. fixed(math.min(latest, v - math.max(L.window, ${REMEMBERED_MS}))))
  if redis.call('EXISTS', L.u) == 1 then prepare(L, nextSlot(L)) end
end
`;
