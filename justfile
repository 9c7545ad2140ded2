# The recipes stand in scripts/test, which runs without just.

# Everything, as on a fresh machine.
default:
    scripts/test

# Format and lints.
check:
    scripts/test check

# The tests of the stores that need no server.
test:
    scripts/test test

# The tests of every store.
test-all:
    scripts/test test-all

# The bridge to Celery, beside real clients and workers of three versions, on Redis and RabbitMQ.
celery:
    scripts/test celery

# homing beside a worker of Celery's, in one run.
celery-bench *ARGS:
    scripts/test celery-bench {{ARGS}}

# The page in a real browser.
web:
    scripts/test web

# Pictures of each page, into a directory.
shots DIRECTORY:
    scripts/test shots {{DIRECTORY}}

# The documentation, warnings denied.
doc:
    scripts/test doc

# Licences, sources and banned dependencies.
deny:
    scripts/test deny

# Whether it resolves beside sqlx, sea-orm, rusqlite and others.
resolve:
    scripts/test resolve

# The examples, run and compared with what they should print.
examples:
    scripts/test examples

# The random histories of one seed.
sim SEED:
    scripts/test sim {{SEED}}

# The documentation as a book, in target/book.
book:
    scripts/test book

# Mutants of the given sources, or of all (many hours).
mutants *PATHS:
    scripts/test mutants {{PATHS}}

# Whole workers simulated: as CI does, so many seeds, or `seed N`.
simulate *ARGS:
    scripts/test simulate {{ARGS}}

# The crash tests, 200 seeds of each kind (long).
crash-sweep:
    scripts/test crash-sweep

# The benchmarks, all or the named ones (long).
bench *NAMES:
    scripts/test bench {{NAMES}}
