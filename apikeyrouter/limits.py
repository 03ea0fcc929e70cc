"""Every bound of the system in one place: what is larger is refused, cut or folded together."""

# --- settings ----------------------------------------------------------------------------------------
DEFAULT_BODY_BYTES = 32 * 1024 * 1024
MOST_BODY_BYTES = 1024 * 1024 * 1024
LEAST_LOG_BYTES = 1024 * 1024  # below this SQLite's own pages would fill the log before the first request
LONGEST_TIMEOUT_S = 24 * 3600.0
MOST_ATTEMPTS = 100

# --- waiting for capacity ----------------------------------------------------------------------------
MOST_WAITING = 10_000  # requests; who comes later is refused at once

# --- vault -------------------------------------------------------------------------------------------
MOST_MATERIAL_BYTES = 64 * 1024  # service-account files are the largest credentials, a few kilobytes
MOST_MASTER_KEY_FILE_BYTES = 4096

# --- bodies that are kept ----------------------------------------------------------------------------
DEFAULT_CAPTURE_BYTES = 1024 * 1024  # of a request, and as much of its answer
MOST_QUEUED_PAYLOADS = 1000  # waiting to be sealed; what comes beyond is lost, and the log says so
MOST_QUEUED_PAYLOAD_BYTES = 64 * 1024 * 1024
MOST_PAYLOADS_AT_ONCE = 32  # sealed and stored in one transaction
MOST_LISTED_PAYLOADS = 1000

# --- log lines ---------------------------------------------------------------------------------------
MOST_LOGGED_CHARS = 16_384  # per text; tracebacks are the long ones
MOST_LOGGED_ITEMS = 100  # per list or mapping
MOST_LOGGED_DEPTH = 6
MOST_REMEMBERED_MATERIALS = 10_000  # 2 to 5 KB of index each; the older half is dropped beyond

# --- metrics -----------------------------------------------------------------------------------------
MOST_METRIC_MODELS = 50  # distinct label values; what comes later is counted as "other"
MOST_METRIC_PROVIDERS = 64
MOST_METRIC_REASONS = 64
MOST_METRIC_ACCOUNTS = 200  # quotas with two series each; the others are only counted
MOST_METRIC_BUDGETS = 100  # with four series each; the others are only counted
METRICS_CACHE_US = 1_000_000  # rendering takes tens of milliseconds, scrapers come every few seconds

# --- alerts ------------------------------------------------------------------------------------------
MOST_QUEUED_ALERTS = 1000  # in memory; what comes beyond is read from the log when these are delivered

# --- event log ---------------------------------------------------------------------------------------
MOST_BATCH_EVENTS = 200  # one transaction; a single append is never split, however large it is
MOST_BATCH_BYTES = 128 * 1024
MOST_QUEUED_EVENTS = 20_000  # waiting for the writer: about a second's work
MOST_QUEUED_BYTES = 64 * 1024 * 1024
MOST_PAGE_EVENTS = 500  # what a reader holds at once; no read transaction outlasts a page
MOST_LOCK_FILE_BYTES = 4096
MOST_WAL_BYTES = 16 * 1024 * 1024  # what the write-ahead file is cut back to once no reader needs more

# --- proof -------------------------------------------------------------------------------------------
MOST_NOTE_BYTES = 64 * 1024
MOST_NOTE_SIGNATURES = 64

# --- snapshots ---------------------------------------------------------------------------------------
MOST_SNAPSHOT_BYTES = 1024 * 1024 * 1024  # a file that is larger is none of ours

# --- read models and reports -------------------------------------------------------------------------
MOST_PROJECTED_EVENTS = 10_000  # one transaction of the read models; some 30 MB while they are at hand
MOST_REPORT_ROWS = 100_000  # of one answer; what is cut off is said
MOST_TRACED_EVENTS = 10_000
MOST_REPLAYED_EVENTS = 200_000  # read for one question to the past over HTTP; the command line has no bound
MOST_BUNDLE_EVENTS = 200_000  # held in memory while a bundle of evidence is made

# --- retention ---------------------------------------------------------------------------------------
MOST_SEGMENT_EVENTS = 10_000  # of one archived segment: about 100 MB while it is made
MOST_DROPPED_ROWS = 200  # in one transaction, so that requests wait some milliseconds at most
