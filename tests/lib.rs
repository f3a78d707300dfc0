//! Whole flows, tested: see `tests/it`.
