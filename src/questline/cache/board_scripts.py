"""The scripts that keep and read a copy of a board in Redis, each one atomic. See docs/decisions/0024-board-copies.md.

A copy is five keys: `meta` (state, numbers of entries, which changes are half done), `marks` (by writer, and the changes that
wait for one before them), `order` (all entries, score 0, sorted by their bytes), `users` (user to entry) and `scores` (the
different scores, only of boards read as dense).

In `users` stand 16 bytes of a place as they were copied, then the 19 digits of the stamp if a change put them there; of a user
who left the board the digits alone.
"""

from questline.model.limits import BOARD_COPY_LINKS_MAX, BOARD_COPY_LIVES_SECONDS

_HEAD = """
local meta, marks, order, users, scores = unpack(KEYS)
local call, sub = redis.call, string.sub
local ZERO = '0000000000000000000'
local FIXED = 5  -- fields of meta; more of them are changes half done
local known = call('HMGET', meta, 'state', 'entries', 'gone', 'dense', 'different')
local state, entries, gone, dense, different =
    known[1], tonumber(known[2]), tonumber(known[3]), known[4] == '1', tonumber(known[5])
if not state then return {'none'} end
if call('ZCARD', order) ~= entries or call('HLEN', users) ~= entries + gone or call('ZCARD', scores) ~= different then
    call('UNLINK', unpack(KEYS))  -- a part of it was evicted
    return {'none'}
end
local function live()
    for _, key in ipairs(KEYS) do call('EXPIRE', key, LIVES_SECONDS) end
end
local function keep()
    call('HSET', meta, 'entries', entries, 'gone', gone, 'different', different)
    live()
end
local function add(place)
    call('ZADD', order, 0, place)
    entries = entries + 1
    if dense then different = different + call('ZADD', scores, 0, sub(place, 1, 8)) end
end
local function remove(place)
    call('ZREM', order, place)
    entries = entries - 1
    if dense then
        local lead = sub(place, 1, 8)
        if call('ZLEXCOUNT', order, '[' .. lead, '(' .. lead .. string.rep('\\255', 17)) == 0 then
            different = different - call('ZREM', scores, lead)
        end
    end
end
"""

# ARGV: 1 where it is dense.
_BEGIN = """
redis.call('UNLINK', unpack(KEYS))
redis.call('HSET', KEYS[1], 'state', 'filling', 'entries', 0, 'gone', 0, 'dense', ARGV[1], 'different', 0)
redis.call('EXPIRE', KEYS[1], LIVES_SECONDS)
return {'filling'}
"""

# ARGV: places as they were copied; a user of whom a change told already is known better.
_FILL = """
if state ~= 'filling' then return {state} end
for _, place in ipairs(ARGV) do
    if call('HSETNX', users, sub(place, 17), sub(place, 1, 16)) == 1 then add(place) end
end
keep()
return {state}
"""

_FINISH = """
if state == 'filling' then call('HSET', meta, 'state', 'whole') end
live()
return {call('HGET', meta, 'state')}
"""

# ARGV: writer, its mark before, its stamp, 1 where nothing more of this change follows, then user and place in turn.
_PUSH = """
local writer, before, stamp, last = ARGV[1], ARGV[2], ARGV[3], ARGV[4] == '1'
for at = 5, #ARGV, 2 do
    local user, place = ARGV[at], ARGV[at + 1]
    local old = call('HGET', users, user)
    local stands = old and #old ~= 19
    local told = old and (stands and sub(old, 17) or old) or ''
    if told < stamp then
        if not (stands and sub(old, 1, 16) == place) then
            if stands then remove(sub(old, 1, 16) .. user) elseif old then gone = gone - 1 end
            if place == '' then gone = gone + 1 else add(place .. user) end
        end
        call('HSET', users, user, place .. stamp)
    end
end
if last then
    call('HDEL', meta, stamp)
    local at = call('HGET', marks, writer) or ZERO
    if at == before then
        at = stamp
        while true do
            local link = 'after ' .. writer .. ' ' .. at
            local following = call('HGET', marks, link)
            if not following then break end
            call('HDEL', marks, link)
            at = following
        end
        call('HSET', marks, writer, at)
    elseif at < stamp then
        call('HSET', marks, 'after ' .. writer .. ' ' .. before, stamp)
        if call('HLEN', marks) > LINKS_MAX then
            call('UNLINK', unpack(KEYS))
            return {'none'}
        end
    end
elseif (call('HGET', marks, writer) or ZERO) < stamp and call('HGET', marks, 'after ' .. writer .. ' ' .. before) ~= stamp then
    call('HSET', meta, stamp, 1)
end
keep()
return {state}
"""

# ARGV: nothing.
_CHECK = """
live()
return {state, dense and 1 or 0, call('HGETALL', marks)}
"""

# ARGV: ties, place to begin after or '', limit, user or '', neighbours. ZRANK and ZLEXCOUNT count without going through.
_READ = """
local ties, after, limit, user, neighbours = ARGV[1], ARGV[2], tonumber(ARGV[3]), ARGV[4], tonumber(ARGV[5])
if state ~= 'whole' or call('HLEN', meta) ~= FIXED or (ties == 'dense' and not dense) then
    return {state, dense and 1 or 0}
end
local function stretch(places, before)
    local above = before
    if #places > 0 and ties ~= 'first' then
        above = call('ZLEXCOUNT', ties == 'dense' and scores or order, '-', '(' .. sub(places[1], 1, 8))
    end
    return {before, above, places}
end
local page
if after == '' then
    page = stretch(call('ZRANGE', order, 0, limit - 1), 0)
else
    local places = call('ZRANGEBYLEX', order, '(' .. after, '+', 'LIMIT', 0, limit)
    page = stretch(places, #places > 0 and call('ZRANK', order, places[1]) or 0)
end
local around = {0, 0, {}}
local own = user ~= '' and call('HGET', users, user)
if own and #own ~= 19 then
    local rank = call('ZRANK', order, sub(own, 1, 16) .. user)
    local first = math.max(rank - neighbours, 0)
    around = stretch(call('ZRANGE', order, first, rank + neighbours), first)
end
return {state, dense and 1 or 0, call('HGETALL', marks), entries, page, around}
"""


def _script(body: str, head: str = _HEAD) -> str:
    bounds = {"LIVES_SECONDS": BOARD_COPY_LIVES_SECONDS, "LINKS_MAX": BOARD_COPY_LINKS_MAX}
    script = head + body
    for name, bound in bounds.items():
        script = script.replace(name, str(bound))
    return script


BEGIN = _script(_BEGIN, "")  # make an empty copy
FILL = _script(_FILL)  # put entries where no change told of their users
FINISH = _script(_FINISH)  # let a filled copy be whole
PUSH = _script(_PUSH)  # take a change, or a part of it
CHECK = _script(_CHECK)  # tell how a copy stands, and let it live on
READ = _script(_READ)  # answer a question
