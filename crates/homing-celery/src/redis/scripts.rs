//! What must happen at once on the server. None of them makes JSON: it is made and read in Rust.

use std::sync::LazyLock;

use redis::Script;

macro_rules! script {
    ($(#[$doc:meta])* $name:ident = $text:literal) => {
        $(#[$doc])*
        pub(crate) static $name: LazyLock<Script> = LazyLock::new(|| Script::new($text));
    };
}

script!(
    /// Takes messages from the lists and notes them, so that none is lost between the two: first those that were
    /// taken too long ago and never became jobs. KEYS: the noted messages, their times, the lists in order. ARGV: how
    /// many, how old in seconds, what the tags begin with. Answers tag, message, tag, message and so on.
    TAKE = r"
local now = tonumber(redis.call('TIME')[1])
local taken = {}
local most = tonumber(ARGV[1])
for _, tag in ipairs(redis.call('ZRANGEBYSCORE', KEYS[2], '-inf', now - tonumber(ARGV[2]), 'LIMIT', 0, most)) do
    local message = redis.call('HGET', KEYS[1], tag)
    if message then
        redis.call('ZADD', KEYS[2], now, tag)
        taken[#taken + 1] = tag
        taken[#taken + 1] = message
    else
        redis.call('ZREM', KEYS[2], tag)
    end
end
local number = 0
for list = 3, #KEYS do
    while #taken < 2 * most do
        local message = redis.call('RPOP', KEYS[list])
        if not message then break end
        number = number + 1
        local tag = ARGV[3] .. ':' .. number
        redis.call('HSET', KEYS[1], tag, message)
        redis.call('ZADD', KEYS[2], now, tag)
        taken[#taken + 1] = tag
        taken[#taken + 1] = message
    end
end
return taken"
);
script!(
    /// Publishes a message unless it has been published. KEYS: the mark, the list. ARGV: the message, for how many
    /// seconds the mark stays.
    PUBLISH = r"
if not redis.call('SET', KEYS[1], '1', 'NX', 'EX', ARGV[2]) then return 0 end
redis.call('LPUSH', KEYS[2], ARGV[1])
return 1"
);
script!(
    /// Stores a result and tells of it; a SUCCESS stays. KEYS: the result. ARGV: the text, seconds or 0.
    RESULT = r"
local old = redis.call('GET', KEYS[1])
if old then
    local is_json, meta = pcall(cjson.decode, old)
    if is_json and type(meta) == 'table' and meta.status == 'SUCCESS' then return 0 end
end
if tonumber(ARGV[2]) > 0 then
    redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
else
    redis.call('SET', KEYS[1], ARGV[1])
end
redis.call('PUBLISH', KEYS[1], ARGV[1])
return 1"
);
script!(
    /// Counts a member's end towards its chord, once, as Celery 5.7 does; the one that completes it takes the claim
    /// to send the body. KEYS: the ends, the size added later, the size, who was counted, the claim, the structure.
    /// ARGV: the id, the end, its number or `+inf`, seconds or 0 until all is forgotten, seconds of the claim, the
    /// claim's token. Answers -1 if the body was sent, 1 if the claim is taken, else 0.
    CHORD_PART = r"
local ends, later, size, counted, claim, structure = KEYS[1], KEYS[2], KEYS[3], KEYS[4], KEYS[5], KEYS[6]
local held = redis.call('GET', claim)
if held == 'done' then return -1 end
local listed = redis.call('TYPE', ends).ok == 'list'
if redis.call('SADD', counted, ARGV[1] .. ':' .. ARGV[3]) == 1 then
    if listed then
        redis.call('RPUSH', ends, ARGV[2])
    else
        redis.call('ZADD', ends, ARGV[3], ARGV[2])
    end
end
local ready = listed and redis.call('LLEN', ends) or redis.call('ZCARD', ends)
local kept = tonumber(ARGV[4])
if kept > 0 then
    for _, key in ipairs({ends, later, size, counted, structure}) do
        redis.call('EXPIRE', key, kept)
    end
end
local wanted = redis.call('GET', size)
if not wanted or ready ~= tonumber(wanted) + tonumber(redis.call('GET', later) or 0) then return 0 end
if held == ARGV[6] then
    redis.call('EXPIRE', claim, ARGV[5])
    return 1
end
if redis.call('SET', claim, ARGV[6], 'NX', 'EX', ARGV[5]) then return 1 end
return 0"
);
script!(
    /// Keeps the claim for as long as sending takes, or takes it again while the chord is there. KEYS: the claim, the
    /// size. ARGV: the token, seconds.
    CHORD_CLAIM = r"
local held = redis.call('GET', KEYS[1])
if held == ARGV[1] then return redis.call('EXPIRE', KEYS[1], ARGV[2]) end
if not held and redis.call('EXISTS', KEYS[2]) == 1 then
    redis.call('SET', KEYS[1], ARGV[1], 'EX', ARGV[2])
    return 1
end
return 0"
);
script!(
    /// The body was sent: removes what belongs to the chord, and remembers that it is done. KEYS: the claim, then what
    /// to remove. ARGV: the token, for how many seconds it is remembered.
    CHORD_DONE = r"
if redis.call('GET', KEYS[1]) ~= ARGV[1] then return 0 end
for key = 2, #KEYS do redis.call('DEL', KEYS[key]) end
redis.call('SET', KEYS[1], 'done', 'EX', ARGV[2])
return 1"
);
script!(
    /// What a register has due; it is due again after a while, unless somebody removes it. KEYS: the register. ARGV:
    /// how many, after how many seconds.
    DUE = r"
local now = tonumber(redis.call('TIME')[1])
local due = redis.call('ZRANGEBYSCORE', KEYS[1], '-inf', now, 'LIMIT', 0, ARGV[1])
for _, id in ipairs(due) do redis.call('ZADD', KEYS[1], now + tonumber(ARGV[2]), id) end
return due"
);
