"""The Redis commands that must happen whole, or not at all: the Lua scripts of the store.

The laws: commands of Redis 6.2 only; a script touches the keys of one session, which share a slot: KEYS[1] is its
hash, KEYS[2] its history; both expire together. Whoever adds a field to the hash says here which script ends it:

    meta                 written by CREATE, never changed
    epoch, seq, belief   where the session stands; COMMIT, RESET
    r1, r2, ...          stored replies of the epoch, as many as the window; COMMIT, RESET
    rest                 "epoch.seq." and bytes: valid while the session stands there, so that nothing need end it
"""

CREATE = """
redis.call('HSET', KEYS[1], 'meta', ARGV[1], 'epoch', 1, 'seq', 0)
if ARGV[3] then redis.call('HSET', KEYS[1], 'belief', ARGV[3]) end
redis.call('PEXPIRE', KEYS[1], ARGV[2])
return 'applied'
"""

# epoch, seq, belief, window, time to live, length of the history, then the reply and the note of every step
COMMIT = """
local at = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
if not at[1] then return 'gone' end
if at[1] ~= ARGV[1] or at[2] ~= ARGV[2] then return 'moved' end
local seq, window = tonumber(ARGV[2]), tonumber(ARGV[4])
local last = seq + (#ARGV - 6) / 2
for i = 7, #ARGV, 2 do
  seq = seq + 1
  local id = string.format('%s-%.0f', ARGV[1], seq)
  redis.call('XADD', KEYS[2], 'MAXLEN', '~', ARGV[6], id, 'n', ARGV[i + 1])
  if seq > last - window then redis.call('HSET', KEYS[1], string.format('r%.0f', seq), ARGV[i]) end
  redis.call('HDEL', KEYS[1], string.format('r%.0f', seq - window))
end
redis.call('HSET', KEYS[1], 'seq', string.format('%.0f', seq), 'belief', ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[5])
redis.call('PEXPIRE', KEYS[2], ARGV[5])
return 'applied'
"""

RESET = """
local at = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
if not at[1] then return 'gone' end
if at[1] ~= ARGV[1] then return 'moved' end
local last = tonumber(at[2])
for seq = math.max(1, last - tonumber(ARGV[2]) + 1), last do
  redis.call('HDEL', KEYS[1], string.format('r%.0f', seq))
end
redis.call('HDEL', KEYS[1], 'belief')
redis.call('HSET', KEYS[1], 'epoch', tonumber(ARGV[1]) + 1, 'seq', 0)
redis.call('PEXPIRE', KEYS[1], ARGV[3])
redis.call('PEXPIRE', KEYS[2], ARGV[3])
return 'applied'
"""

KEEP_REST = """
local at = redis.call('HMGET', KEYS[1], 'epoch', 'seq')
if not at[1] then return 'gone' end
if at[1] ~= ARGV[1] or at[2] ~= ARGV[2] then return 'moved' end
redis.call('HSET', KEYS[1], 'rest', ARGV[1] .. '.' .. ARGV[2] .. '.' .. ARGV[3])
redis.call('PEXPIRE', KEYS[1], ARGV[4])
redis.call('PEXPIRE', KEYS[2], ARGV[4])
return 'applied'
"""

# Gives back what the session's meta was, from which its place among its owner's follows.
DELETE = """
local meta = redis.call('HGET', KEYS[1], 'meta')
redis.call('DEL', KEYS[1], KEYS[2])
return meta
"""

LAST = """
return redis.call('HGET', KEYS[1], 'r' .. (redis.call('HGET', KEYS[1], 'seq') or ''))
"""
