//! For tests: the conformance suite every store must pass, and random histories.
