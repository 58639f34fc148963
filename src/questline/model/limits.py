"""Every bound in Questline, in one place, with its reason. A setting may lower or raise those marked (setting)."""

# ── what a client may send
EVENT_BYTES_MAX = 256 * 1024  # (setting) one event; a larger fact belongs in the customer's own storage
BATCH_EVENTS_MAX = 1_000  # (setting) items in one POST /v1/events/batch
STREAM_BYTES_MAX = 128 * 1024 * 1024  # (setting) one body on /v1/ingest/stream, before decompression is counted too
COMMAND_BODY_BYTES_MAX = PUBLIC_BODY_BYTES_MAX = SMALL_BODY_BYTES = 64 * 1024  # a command; a login and the like
REQUEST_BODY_BYTES_MAX = 8 * 1024 * 1024  # any other body
STRANGERS_BODIES_BYTES_MAX = 64 * 1024 * 1024  # of larger bodies read together before it is known whose they are
PROGRAM_BYTES_MAX = 1024 * 1024  # one program document
USER_ID_CHARS_MAX = 256
EVENT_TYPE_CHARS_MAX = 128
KEY_CHARS_MAX = 512  # event ids and idempotency keys
SHORT_TEXT_CHARS_MAX = 256  # source, versions, partition key, correlation id
PAYLOAD_DEPTH_MAX = 32  # nesting of a payload; deeper is a mistake or an attack
EVENT_FUTURE_SECONDS_MAX = 300  # (setting) how far a client's clock may run ahead
OCCURRED_YEARS = (1900, 9998)  # an event's; before is a zero time, beyond no calendar goes on
WAIT_SECONDS_MAX = 30  # `Prefer: wait=N` is cut to this

# ── signed events
SIGNATURE_TOLERANCE_SECONDS = 300  # (setting) how old a signature may be, or how far ahead its sender's clock
SIGNING_SECRET_CHARS_MIN = 16  # of a secret that the customer brings; one of ours has 32 random bytes
SIGNING_SECRET_CHARS_MAX = SIGNATURE_NONCE_CHARS_MAX = 256
SIGNING_OVERLAP_SECONDS_DEFAULT = 86_400  # a secret that was rotated out stays valid for so long
SIGNED_STREAM_BYTES_IN_MEMORY = 1024 * 1024  # of a signed stream, until its end is seen; the rest waits in a file
NONCE_MARGIN_SECONDS = 60  # a nonce is kept so much longer than its signature holds, for clocks that differ
NONCES_SWEPT_SECONDS = 30.0  # how often a worker forgets nonces whose signatures are over
NONCES_SWEPT_ROWS = 5_000  # forgotten in one transaction

# ── end users
USER_TOKEN_SECONDS = 900  # (setting) of an access token
USER_SESSION_SECONDS = 30 * 86_400  # (setting) a session that nobody continues ends after this
USER_TOKEN_MINTED_SECONDS_MAX = 86_400  # of a token that a customer's server asks for
MINTS_REMEMBERED_MAX = 200_000  # tokens of users that a process has told the audit log of today, by hashes: some 16 MB
USER_TOKEN_LEEWAY_SECONDS = 30  # by which the clock of the server that made a token may be ahead
USER_TOKENS_REMEMBERED = 20_000  # verified once by a process, and looked up from then on
USER_TOKEN_BYTES_MAX = 2_048
LOGIN_CHARS_MIN, LOGIN_CHARS_MAX = 3, 254
REGISTRATIONS_PER_MINUTE = 5  # of an address
USER_LOGINS_PER_MINUTE = 10  # of an address; passwords of one user are changed as often
USER_SESSIONS_SWEPT_SECONDS = 300.0  # how often a worker forgets sessions that are over
USER_SESSIONS_SWEPT_ROWS = SIGHTINGS_SWEPT_ROWS = 2_000  # forgotten in one transaction

# ── ingest
STREAM_GROUP_EVENTS = 3_000  # lines of a stream stored and committed together
STREAM_GROUPS_AT_ONCE = 2  # of one stream; no more: a group of which nothing is to be stored waits for none before it
STREAM_GROUP_BYTES = 1024 * 1024  # of such a group, so that long lines do not swell it
XML_DEPTH_MAX = 128  # of elements in a stream; the parser remembers each that is open
XML_NAMES_MAX = 5_000  # different names in a stream; the parser remembers each
XML_PIECE_BYTES = 64 * 1024  # parsed at once
ANONYMOUS_EVENTS_AT_ONCE = 500  # events of a visitor stored together once somebody says who it is
ANONYMOUS_LINKS_KNOWN = 100_000  # visitors whose user a process remembers
SEGMENT_BODY_BYTES_UNSIGNED = 512 * 1024  # of a body read to find its writeKey; Segment's own clients send no more
SEGMENT_CONTEXT_BYTES_MAX = 32 * 1024  # of a batch, with which each of its messages is stored
STREAM_IDLE_SECONDS = 0.25  # a group is stored as it is when the sender pauses for so long
ITEMS_READ_AT_ONCE = 250  # items of a batch or stream read before other requests get their turn
ITEMS_BYTES_AT_ONCE = 256 * 1024  # likewise
STREAM_REJECTED_MAX = 100_000  # lines of one stream; what has more is no stream of events
STREAM_RESULT_BYTES_MAX = 256 * 1024 * 1024  # of a stream's answer: results of some two million lines
STREAM_RESULT_BYTES_IN_MEMORY = 1024 * 1024  # of a stream's answer; the rest waits in a temporary file
ACCEPT_GROUP_EVENTS_MAX = 500  # single events that share one commit
ACCEPT_GROUP_MIN = COMMAND_GROUP_MIN = 4  # a group takes so many who wait, and of more than twice as many the half
ACCEPT_GATHER_SECONDS = 0.005  # for which a group waits until half of those who are likely to come are there, at most
ACCEPT_WRITERS = 2
ACCEPT_GROUP_BYTES_MAX = 2 * 1024 * 1024  # in one statement, so that large events do not swell it
ACCEPT_QUEUE_EVENTS_MAX = 20_000  # events waiting for a commit; beyond, 503 with Retry-After
ACCEPT_QUEUE_BYTES_MAX = 64 * 1024 * 1024  # (setting) of single events waiting, and of batches, likewise
STALL_SECONDS = 5.0  # no writer was answered for so long: the store is slow, and what waits, or comes, is turned away
STALL_CHECKED_SECONDS = 0.25
PLANS_KEPT_SECONDS = 5.0  # a connection plans its statements anew after this
POOL_WAIT_SECONDS = KEY_ASKED_SECONDS = 5.0  # a request waits so long for a connection, or to learn whose its key is
BACKLOG_CHECKED_SECONDS = 1.0  # how often an API process looks whether too many events wait to be applied
ACCEPT_BATCHES_AT_ONCE = 4  # batches and groups of streams being stored; they must leave connections to reads
ACCEPT_LANE_EVENTS_MIN = 256  # a batch of fewer is stored on one connection
ACCEPT_TRIES_MAX = 5  # of a group that PostgreSQL rolled back for a deadlock

# ── processing
LOCK_WAIT_MS = 1_500  # for what somebody else holds; longer than deadlock_timeout, which finds circles before
LOCK_PROBE_MS = 50  # likewise, while it is found out what is held
HELD_SECONDS = 3.0  # after a wait in vain nobody waits again for so long; a command is tried again for so long
HELD_AGAIN_SECONDS = 0.1  # and so soon
PARTITIONS = 64  # fixed: a user's partition must not move
DEAD_LETTERS_AT_ONCE = 1_000  # put back or discarded by one request, in one transaction
REASON_CHARS_MAX = 1_000  # of why an operator did something
APPLY_BATCH_EVENTS = 1_000  # events applied in one transaction by a worker
APPLY_BATCH_BYTES = 4 * 1024 * 1024  # of their payloads, which decoded take several times as much; one may have more
APPLY_BATCH_SMALL = RELAY_BATCH_SMALL = 50  # after a batch of fewer, one waits a moment for more to share its cost
BATCH_SMALL_BYTES = 256 * 1024  # unless the few had so many bytes: then it may have been full. Of a relay likewise
STATEMENT_COMBINATIONS_MAX = 256  # of statements sent as one, whose text a process keeps
COMMAND_GROUP_MAX = 128  # commands that share one transaction
COMMAND_GROUP_BYTES_MAX = 8 * 1024 * 1024  # of their payloads
COMMAND_GATHER_SECONDS = 0.015  # for which a group waits until half of those who are likely to come are there, at most
COMMAND_LANES = 6  # groups of commands under way at once in a process
COMMAND_QUEUE_MAX = 5_000  # commands waiting; beyond, 503 with Retry-After
COMMAND_QUEUE_BYTES_MAX = 64 * 1024 * 1024  # of commands and waited events waiting, likewise
DRAIN_EVENTS_MAX = 2_000  # waiting events applied in one transaction before the commands that they precede
DRAIN_BYTES_MAX = 4 * 1024 * 1024  # of their payloads; one event may have more
CATCH_UP_SECONDS = 4.0  # a command waits so long for its user's events where more wait than that; then 503
CATCH_UP_USERS_AT_ONCE = 16  # whose events are applied together then
CATCH_UP_COMMANDS_MAX = 256  # that wait so in a process; beyond, 503 at once
DEV_WORKERS_MAX = 4  # that `questline dev` starts by itself, one for each processor
LANES_PER_WORKER = 2  # one computes while the other waits for PostgreSQL; more only make batches smaller
LEASE_SECONDS = RELAY_LEASE_SECONDS = 6.0  # what a dead worker held, or a relay had in flight, is free after this
LEASE_RENEW_SECONDS = 2.0
IDLE_POLL_SECONDS = 0.04  # how soon a lane looks again after a small batch
IDLE_POLL_SECONDS_MAX = 0.16  # how late, when it has found nothing for a while: looking costs both sides
APPLY_TRIES_MAX = 3  # of one batch on one living connection, before it is split to find the event at fault
RETRY_SECONDS = (1, 5, 30, 120, 600)  # (setting) before each further try at an event that failed
RETRY_JITTER_PERCENT = 20  # (setting) of these, so that what failed together does not come back together
RETRY_POLL_SECONDS = 0.25  # how often a worker looks for events that are due again
RETRY_USERS_AT_ONCE = 250  # whose events are tried again in one batch
RETRY_USERS_SHARED = 5_000  # of those due, among whom projects take turns
RETRY_USER_EVENTS = 100  # of one user in such a batch, once the event they waited for has gone through
RETRY_BACKOFF_SECONDS_MAX = 5.0  # infrastructure faults, between tries

# ── carriers
RELAY_LANES = 2  # of one relay: one waits for the broker while the other asks PostgreSQL
RELAY_BATCH_EVENTS = 2_000  # put in flight at once
RELAY_BATCH_BYTES = 4 * 1024 * 1024  # of their payloads, which are there a second time in messages; one may have more
RELAY_WINDOW_EVENTS = 16_384  # the broker holds about so many; the others wait in PostgreSQL, where projects take turns
RELAY_LINE_EVENTS_MIN = 64  # of one project in one partition, however many others wait
RELAY_LINE_EVENTS_MAX = 4_096  # of one project in one partition, however few others wait
RELAY_UNAPPLIED_SECONDS = 60.0  # what was handed over and is not applied by then may come again; see unapplied.py
RELAY_UNAPPLIED_SECONDS_MAX = 3_600.0  # each further wait is twice as long, up to this
RELAY_UNAPPLIED_MESSAGES_MAX = 64  # behind more of its queue nothing comes again: they are to be read first
RELAY_LOOKED_SECONDS = 5.0  # how often a relay looks for what was handed over and is not applied
RELAY_CONFIRM_SECONDS = 5.0  # the broker has so long to confirm; then the connection is given up
RELAY_MESSAGE_EVENTS = 256  # of one partition in one message
RELAY_MESSAGE_BYTES = 128 * 1024  # of payloads in one message, unless one event alone has more
MIRROR_POLL_SECONDS = 1.0  # how often dead letters are looked for that the broker was not told of
MIRROR_BATCH = 200  # dead letters told of at once
DLQ_MESSAGES_MAX = 100_000  # kept in events.dlq; then the oldest go, which PostgreSQL still has
RABBITMQ_PREFETCH = 16  # messages of one queue in a worker's hands
RABBITMQ_ASSIGN_SECONDS = 0.1  # how often a worker compares the queues it consumes with the partitions it holds
RABBITMQ_HEARTBEAT_SECONDS = 3  # who says nothing for some of these is gone: the broker, or a worker that stands still
BROKER_BACKOFF_SECONDS_MAX = 2.0  # a broker that is gone is asked so often at least, by each relay and worker

# ── deliveries
DELIVERIES_AT_ONCE = 64  # under way in one process; what waits for a slow receiver costs little
DELIVERIES_OF_PROJECT = 8  # of these to one project, so that its slow receiver leaves room to others
DELIVERIES_OF_PROJECT_FIRST = 2  # until it has answered; one at a time after it has not
DELIVERIES_OF_SILENT_ONE_IN = 8  # of what is under way, for projects that did not answer: they are tried as well
DELIVERY_PROJECTS_KNOWN = 10_000  # whose pace a process remembers
DELIVERY_CONNECTIONS = 4  # of one process to PostgreSQL, beside the one that measures
DELIVERY_CLAIM_SECONDS = 0.025  # between two looks, however much ends meanwhile: each walks the projects that wait
DELIVERY_POLL_SECONDS = 0.5  # how often it is looked for what is due, while nothing is
DELIVERY_CONNECT_SECONDS = RABBITMQ_CONNECT_SECONDS = 5.0
DELIVERY_SECONDS_MAX = 10.0  # of one try; a process that stops waits for it
DELIVERY_ANSWER_BYTES_MAX = 16 * 1024  # read of an answer, so that the receiver can finish it; nobody looks at it
DELIVERY_LEASE_SECONDS = 60.0  # what a dead process was sending is free after this
DELIVERY_NOTED_SECONDS = 5.0  # what a try led to is noted within this, or the try is made again
DELIVERY_TRIES_MAX = 18  # with the waits below: a day, and an hour or two
DELIVERY_WAIT_SECONDS = 5.0  # after the first try; each further wait is twice as long
DELIVERY_WAIT_SECONDS_MAX = 4 * 3_600.0
DELIVERY_JITTER_PERCENT = 20  # of a wait, so that what failed together does not come back together
DELIVERY_RETRY_AFTER_SECONDS_MAX = 6 * 3_600.0  # a receiver may put us off for so long

# ── sweeps and replays
SWEEP_BATCH_USERS = REMINDER_BATCH_USERS = 1_000  # looked at, and sent their event, in one transaction
SWEEP_LOOK_USERS = 5_000  # looked at in one request for a preview
SWEEP_SAMPLE_USERS = 20  # shown of those a preview found
REMINDERS_CHECKED_SECONDS = 60.0
SWEEP_BACKLOG_MAX = 20_000  # events waiting; beyond, sweeps wait
REPLAY_BATCH_EVENTS = 1_000  # looked at and put back in one transaction, or counted: no further user is begun then
REPLAY_BATCH_USERS = 20  # whose histories are folded anew in one transaction
REPLAY_FOLDED_EVENTS = 5_000  # of them; no further user is begun then
REPLAY_EVENTS_AT_ONCE = 50  # worked out again before lanes or requests of the same loop get their turn
REPLAYS_CHECKED_SECONDS = SWEEPS_CHECKED_SECONDS = 1.0  # how often a worker looks for them
REPLAY_EVENTS_COUNTED = 1_000_000  # the total of a replay is counted so far
INCIDENT_NAME_CHARS_MAX = 128

# ── engine
CONDITION_DEPTH_MAX = 16
CONDITION_LEAVES_MAX = 256  # in one condition
ATTRIBUTE_READS_MAX, ATTRIBUTE_READ_BYTES_MAX = 64, 256  # what a decision keeps of attributes that conditions read
CHAIN_ROUNDS_MAX = 8  # award → level → achievement → award ...; the engine refuses what goes on beyond
EFFECTS_PER_EVENT_MAX = 1_000
REFERRAL_CODE_CHARS = 8
REFERRAL_CHAIN_MAX = 1_000  # users above a code's owner that are looked at for a ring; in records.sql as well
REFERRAL_CODE_TRIES_MAX = 8  # of a code that somebody has already
FOLLOW_UPS_MAX = 20  # system events that one decision sends to others
AMOUNT_MAX = 2**62  # of one transfer or balance, in smallest units; beyond is a refusal
ITEM_UNITS_MAX = 1_000_000  # of one item, of one user
BOOST_SPANS_MAX = 8  # of a personal boost of one user, the latest: a late event gets what held when it happened
GUARDS_MAX = 100  # in one program
GUARD_TIMES_MAX = 500  # of a rate; about four times as many are remembered of a user at the most, read for each event
GUARD_SPREAD_MAX = 100  # users or values of a spread; about eight times as many are remembered at the most
GUARD_VALUES_MAX = 256  # starts and fingerprints that a guard remembers of a user; the oldest are forgotten beyond
GUARD_RECEIVED_MIN = 32  # marks that it keeps by receipt, whatever their times; more where it allows more in a window
GUARD_WINDOW_SECONDS_MAX = 366 * 86_400
GUARD_SCORE_MAX = 1_000_000  # of one guard; and a user's suspicion does not rise above
COUPONS_UPLOAD_MAX = 50_000  # codes in one upload; send more in further ones
COUPON_CHARS_MAX = 256  # of one code
FULFILMENT_NOTE_CHARS_MAX = 1_000  # a tracking number, or why a fulfilment failed
STOCK_MAX = 1_000_000_000  # units of one named reward or store item
DISTINCT_VALUES_MAX = 10_000  # a `distinct` metric stops counting here
CHECK_IN_HOURS_ACROSS_ZONES = 8  # between check-ins of two dates, where the zone changed; a traveller sleeps longer
STREAK_CARE_DAYS_MAX = 366  # of one pause, one restored gap, one incident
INCIDENT_REACH_PERIODS = 31  # before an incident: who was active then is mended too, in case more of theirs is late
STREAK_CHOICES_MAX = ZONE_CHANGES_MAX = 32  # of one user; older targets, day starts, zones are taken as the oldest kept
STREAK_DAY_START_DAYS = 90  # between two choices of a day start that cut a period short, which is excused
WINDOW_BUCKETS_MAX = 750  # of one timeframe, in its unit: 31 days of hours; twice as many are kept for late events
LEVELS_MAX = 10_000
SEASONS_MAX = 100  # of a program; what ended may be taken out, its results stay
LEAGUES_MAX = 20  # of a program
LEAGUE_TIERS_MAX = 50
LEAGUE_COHORT_MAX = 200  # users in a cohort: it is ranked and shown whole
RANKS_MAX = 2_000_000_000  # of a range of rewards
ATTRIBUTES_MAX, ATTRIBUTES_BYTES_MAX = 500, 64 * 1024  # of one user, and of their JSON; each event of theirs reads all
DISPLAY_NAME_CHARS_MAX = 256
RULES_MAX = 5_000
QUESTS_MAX = 500
QUEST_STEPS_MAX = 50  # of one quest; each is looked at whenever something the quest needs has changed
PROGRAM_ERRORS_MAX = 200  # reported of one document
PROGRAM_DEPTH_MAX = 64  # nesting of a program document
PROGRAM_VALUES_MAX = 300_000  # values in a program document; PROGRAM_BYTES_MAX holds few more
PATTERN_CHARS_MAX = 512  # of `matches`

# ── the event catalogue
EVENT_TYPES_MAX = 1_000  # in one program
EVENT_TYPE_VERSIONS_MAX = 50  # of one type
EVENT_SCHEMA_NODES_MAX = 1_000  # schemas within one payload schema, references written out: what one event can cost
EVENT_SCHEMA_REFERENCES_DEEP_MAX = 200  # nesting of one, references followed
EVENT_SCHEMA_PATTERN_BYTES_MAX = 256 * 1024  # one pattern, compiled
SCHEMA_MESSAGE_CHARS_MAX = 500  # of a violation
UPCAST_STEPS_MAX = 100  # of all versions of one type
UPCAST_ITEMS_MAX = 1_000  # elements of lists that one step goes through
SEEN_TYPES_AT_ONCE = 10_000  # types that a process counts between two writes
SEEN_TYPES_WRITTEN_SECONDS = 5.0
SEEN_TYPES_LISTED = 2_000  # of a project, about: whoever makes types of ids shall not fill the list
SEEN_SAMPLES_AT_ONCE = 10  # events of a type that a process remembers between two writes
SAMPLES_KEPT, SAMPLES_SHOWN = 50, 5  # ids of events of a type
SAMPLE_BYTES_MAX = 4 * 1024  # of a payload in a list of types; longer ones are left out
INFERRED_BYTES_MAX = 64 * 1024  # of a payload that a schema is inferred from
INFERRED_PROPERTIES_MAX = 200  # of one object; beyond, its members are data and no form

# ── reads
PAGE_ITEMS_DEFAULT = 50
PAGE_ITEMS_MAX = 200
PROGRESS_DECISIONS_LOOKED = 1_000  # a page of progress looks through so many decisions for what changed it
BOARD_SHARDS = 256  # writers that count board entries side by side
BOARD_CROWDS_SECONDS = 5.0  # how often a worker looks for crowded ranges of scores
BOARD_PART_ENTRIES = 2_048  # a range of scores with more than twice this is split, so that a rank counts few entries

# ── the edge
RATE_BUCKETS_MAX = 100_000  # keys, projects of addresses, what throttles count; the longest unused is forgotten
RATE_LIMIT_MAX = 1_000_000  # a second; more is no limit
RATE_OVERRIDES_REMEMBERED = 1_024  # limits of single projects, worked out once
REFUSALS_HELD_SECONDS = 0.25  # an answer 429 waits about so long: who asks again at once asks four times a second
REFUSALS_HELD_MAX = 1_000  # answers that wait so at once; beyond, they are sent at once
HEAD_BYTES_MAX = 64 * 1024  # of a request's headers together
HEADERS_MAX = 100
TARGET_BYTES_MAX = 16 * 1024  # of a request's path and query
HEAD_SECONDS_MAX = 10.0  # from a request's first byte, or the connection's begin, to the end of the headers
BODY_GRACE_SECONDS = 20.0  # a body may take so long, and longer for what comes at
BODY_BYTES_PER_SECOND_MIN = 500.0  # this rate
READER_SECONDS_MAX = 30.0  # an answer's client reads some 50 KB, or what is left, within this
LEFTOVER_SECONDS_MAX = 5.0  # a body that was answered before its end is still read for so long
KEEP_ALIVE_SECONDS = 75.0  # between two requests
CONNECTIONS_SWEPT_SECONDS = 1.0  # how often slow clients are looked for
CONNECTIONS_MAX = 10_000  # (setting) of clients to one API process, so that idle ones do not use up its memory
PROCESS_ANNOUNCED_SECONDS = 1.0  # how often an API process says that it lives
PROCESS_LIVES_SECONDS = 4.0  # a dead one's share goes to the others after this
URL_CHARS_MAX = 2_048  # of a webhook
CORS_ORIGINS_MAX = 100  # pages' origins that a project names

# ── replies kept under idempotency keys
REPLIES_KEPT_SECONDS = 86_400  # a client that has not repeated a request within a day has given it up
REPLIES_SWEPT_SECONDS = SIGHTINGS_SWEPT_SECONDS = 60.0  # how often a worker forgets those; values of guards likewise
REPLIES_SWEPT_ROWS = 1_000  # forgotten in one transaction
REPLY_BYTES_MAX = 1024 * 1024 + 64 * 1024  # of one reply: a program and what is said round it

# ── caches and connections
KEY_CACHE_SECONDS = 60.0  # a key is asked for again; a revocation is heard of at once
KEY_CACHE_DEAF_SECONDS = 1.0  # likewise while nothing can be heard, so that a revoked key stops soon even then
KEY_UNKNOWN_SECONDS = 1.0  # a key that is unknown now may be made the next moment
KEY_EXPIRY_DAYS_MAX = 3_650
AUDIT_VALUE_BYTES_MAX = 16 * 1024  # of what an act changed, before and after; of more the log keeps the size
AUDIT_EXPORT_ROWS = 1_000  # read at once, however long the export is
MEMBER_SESSION_SECONDS = 12 * 3_600  # a working day; then a member logs in again
INVITATION_DAYS = 7
PASSWORD_CHARS_MIN, PASSWORD_CHARS_MAX, USER_PASSWORD_CHARS_MIN = 12, 256, 8  # of members; and of end users
PASSWORD_RESET_SECONDS = 3_600  # a token for who forgot theirs holds so long: a mail is read within that
PASSWORDS_AT_ONCE = 2  # checked by one process; each takes 64 MiB and some 50 ms of processor time
MEMBER_REQUESTS_PER_MINUTE = 600  # of one member, to organizations; in projects the limits of keys hold
LOGINS_PER_MINUTE = 10  # of one address, and for one email
KEY_OVERLAP_SECONDS = 86_400  # a rotated key lives on for so long, unless its rotation says otherwise
KEY_OVERLAP_SECONDS_MAX = SIGNING_OVERLAP_SECONDS_MAX = 30 * 86_400
ADMIN_TOKEN_CHARS_MIN = 16  # a shorter one could be guessed
OPERATOR_REQUESTS_PER_MINUTE = 120  # of one address, with a right token or a wrong one
LISTEN_PROBE_SECONDS = 1.0  # a connection that hears nothing is asked so often whether it lives
LISTEN_SILENT_SECONDS_MAX = 10.0  # and is given up when it has not answered for so long
KEY_USE_NOTED_SECONDS = 15.0  # how often uses of keys are written down
KEY_CACHE_ENTRIES_MAX = 50_000
KEY_BYTES_MAX = 128  # a longer API key is none of ours, and is not remembered as unknown either
PROGRAM_CACHE_ENTRIES_MAX = 1_000  # compiled programs held by one process
POOL_CONNECTIONS_MAX = 10  # (setting) of one process to PostgreSQL
LANE_HUNG_SECONDS = 30.0  # a worker whose lane finished nothing for so long is not ready
RESTART_BACKOFF_SECONDS_MAX = 5.0  # before a process that keeps dying is started again
RESTART_STABLE_SECONDS = 30.0  # a process that lived this long is started again at once when it dies
SHUTDOWN_SECONDS_MAX = 10.0  # to finish what was taken
START_SECONDS_MAX = 60.0  # a process waits so long for a database that is not there yet
LOG_FILE_BYTES_MAX = 16 * 1024 * 1024  # of `questline dev`; a larger one is moved aside at the next start

# ── Redis
REDIS_DEADLINE_SECONDS = 0.05  # it answers within a millisecond or two; what takes longer is slower than PostgreSQL
REDIS_CONNECT_SECONDS = 0.25  # a connection, and a probe, which nobody waits for
REDIS_ASKED_AT_ONCE = 16  # questions of one process, each with a connection of its own; more wait within their deadline
REDIS_PROBE_SECONDS_MIN = 0.05  # after a fault it is probed so soon, then ever more rarely
REDIS_PROBE_SECONDS_MAX = 1.0
REDIS_STABLE_SECONDS = 10.0  # who fails again within this is probed no more often than before
SEEN_SECONDS = 300  # a key or nonce is known to be stored for so long; much less than dedupe keys are kept at least
SEEN_SHARE_MIN = 0.02  # of events that come twice; where fewer do, looking them up costs all of them more than it saves
SEEN_SHARE_WEIGHT = 0.05  # of the latest group in this share
HISTORY_ASKED_SECONDS = 1.0  # how often an API process asks which history of the database it is
HISTORY_HOLDS_SECONDS = 3.0  # and for how long the answer is believed
REVOCATIONS_REMEMBERED = 1_000  # of keys, members, projects; of more, all older entries are done with
REDIS_TAKES_AT_ONCE = 200  # takes from buckets that travel together
REDIS_ENTRIES_AT_ONCE = 500  # entries written at once
REDIS_PUTS_WAITING_MAX = 20_000  # entries of one process on their way to it; beyond, they are dropped
CACHE_MEMORY_ENTRIES_MAX = 20_000  # of one cache in one process, while Redis is gone
FANOUT_WAITING_MAX = 1_000  # messages for one subscriber, or on their way to Redis; beyond, they are dropped for a gap
FANOUT_PROBE_SECONDS = 1.0  # a connection that hears nothing is asked whether it lives, and given up after as long

# ── copies of boards in Redis
BOARD_COPY_ENTRIES_MIN = 1_000  # a board with fewer is as fast in PostgreSQL
BOARD_COPIES_MAX = 1_000  # those read last; a copy takes some 200 bytes an entry
BOARD_COPY_WANTED_SECONDS = 3_600  # a board that nobody read for so long has no copy
BOARD_COPY_LIVES_SECONDS = 3_600  # a copy that nobody looks after for so long is gone from Redis
BOARD_COPIES_CHECKED_SECONDS = 1.0  # how often copies are compared with PostgreSQL
BOARD_COPY_BEHIND_SECONDS = 5.0  # a copy that misses a change for so long is made again: nobody is going to send it
BOARD_COPY_AGAIN_SECONDS = 30.0  # and no sooner than this after it was made, or ten times as long as it took
BOARD_COPY_PAGE = 5_000  # entries read at a time to be copied
BOARD_COPY_DEADLINE_SECONDS = 0.5  # of what keeps copies, for which nobody waits
BOARD_PUSHED_AT_ONCE = 200  # entries of one script: Redis does nothing else for a millisecond or two
BOARD_CHANGES_WAITING_MAX = 200_000  # entries of one process that wait to be sent; beyond, they are dropped
BOARD_COPY_LINKS_MAX = 10_000  # changes that wait in Redis for one before them; beyond, the copy is given up
BOARD_COPIES_FORGOTTEN_SECONDS = 86_400  # copies that nobody looked after for so long need no marks of writers any more
BOARD_COPIES_FORGOTTEN_CHECKED_SECONDS = 3_600.0

# ── seasons and leagues
LEAGUES_CHECKED_SECONDS = 5.0  # how often a worker looks for weeks that have ended
SEASONS_CHECKED_SECONDS = 30.0  # likewise for seasons, of which only the programs tell
CONTEST_MARGIN_SECONDS = 30.0  # after a contest's end, so that what was received before it is in the queue
RESULTS_WAITING_MAX = 5_000  # of a project in the queue; its users' own events come right behind
ROOM_POLL_SECONDS = 0.5  # how soon it is looked again whether the queue has room
CONTEST_BATCH_USERS = 1_000  # results worked out and sent in one transaction; more than a cohort has

# ── operating
EXPIRIES_SECONDS = 5.0  # how often a worker looks for rewards that nobody claimed in time; reads need no sweep
EXPIRIES_AT_ONCE = 500  # of them in one transaction
PARTITIONS_CHECKED_SECONDS = 3600.0  # how often a worker sees to the months ahead
QUEST_SWEEP_SECONDS = 5.0  # how often a worker looks for quests whose time is over
QUEST_SWEEP_FULL_SECONDS = 1.0  # likewise, while more are over than one sweep takes
QUEST_SWEEP_ROWS_MAX = 1_000  # quests one sweep expires: customers' events come first, and reads are right anyway

# ── being seen
PROJECTS_NAMED_MAX = 20  # projects whose events a process counts by name; the rest are `other`
PROJECTS_RANKED_SECONDS = 5.0  # how often it is settled anew who they are
LATENCY_SAMPLE = 16  # of events stored or applied together, one in so many (at least one) is timed
TRACE_LINKS_MAX = 128  # from a batch's span to the traces of its events; the SDK keeps no more
SPANS_QUEUED_MAX = 8_192  # of a process until they are sent; beyond, they are dropped
TRACE_EXPORT_SECONDS = 5.0  # a collector that does not answer holds a sending, or a process that ends, no longer
BACKLOG_MEASURED_SECONDS = 5.0  # how often a worker measures what waits
BACKLOG_COUNTED_MAX = 100_000  # events, dead letters and parked users are counted up to this
BACKLOG_LINES_MAX = 10_000  # places in the queue (a partition, a project) whose first event is looked at for the oldest

# ── retention
PARTITION_MONTHS_AHEAD = 3  # of events, attempts, decisions and notices, made when migrating and by workers
PRUNE_LOCK_MS = 200  # events wait so long at most behind who wants to drop a month; then it is tried again
PRUNE_LOCK_TRIES = 150  # until a month is left for the next time
PRUNE_LOCK_PAUSE_SECONDS = 0.4  # between them, so that who waited gets through
PRUNE_ROWS_AT_ONCE = 1_000  # taken out of a default partition in one transaction
PRUNE_PAGES_AT_ONCE = 64  # of 8 KB, of dedupe keys gone over in one transaction: some 5,000 keys
PRUNE_CHECKED_SECONDS = 300.0  # how often a worker looks whether it is time to prune
NEEDED_COUNTED_MAX = 10_000  # of events that a month is still needed for
ARCHIVE_ROWS_AT_ONCE = 500  # read from PostgreSQL at once: as many of the largest events fit into memory
ARCHIVE_GROUP_ROWS = 50_000  # of one row group of a file
ARCHIVE_GROUP_BYTES = 16 * 1024 * 1024  # of its longest columns, so that large events do not swell it

# ── Kafka
KAFKA_PARTITIONS = 16  # (setting) of the topic; a client sends a request for each, so more make accepting dearer
KAFKA_LINGER_MS = 0.5  # a record waits so long for others of its partition to share a request
KAFKA_DELIVERY_SECONDS = 5.0  # a record that no broker acknowledged within this is answered 503
KAFKA_POLL_SECONDS = 0.001  # how often acknowledgements are looked for while no event comes
KAFKA_PROBES_MAX = 32  # records under way while no broker answers: enough to see it come back
KAFKA_REACH_SECONDS = 5.0  # a broker is asked for so long for what it has
KAFKA_RETENTION_HOURS = 7 * 24  # (of a topic that we make) workers may be away for so long
KAFKA_RECORD_OVERHEAD_BYTES = 16 * 1024  # of a record's value beside its payload, at most
KAFKA_SESSION_SECONDS = 6.0  # a dead worker's partitions are dealt anew after this
KAFKA_ROUND_SECONDS_MAX = 60.0  # a worker that has asked for nothing in so long has lost its partitions
KAFKA_BUFFERED_RECORDS = 4_000  # records a worker holds that no lane has taken up
KAFKA_BUFFERED_BYTES = 16 * 1024 * 1024  # likewise
KAFKA_FETCHED_KILOBYTES = 32 * 1024  # and of those that the client holds before
KAFKA_FETCH_RECORDS = 1_000  # taken over from the client at once
KAFKA_HANDOVER_SECONDS = 5.0  # a batch under way is waited for so long before its partition goes to another worker
KAFKA_TOLD_SECONDS = 1.0  # how often Kafka is told how far its log was taken in, for those who look there
KAFKA_LOOKED_SECONDS = 2.0  # how often a worker asks the brokers where the log ends
KAFKA_STUCK_SECONDS = 5.0  # the log has more and none of it comes for so long: the client is given up for a new one
KAFKA_STUCK_BESIDE_OTHERS_SECONDS = 30.0  # the same where other partitions do bring records
