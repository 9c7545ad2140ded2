//! Keys against live stores, and pictures of every screen.
