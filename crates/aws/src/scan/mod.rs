//! What is to be copied: listings compared, or a list of keys.

pub mod keys;
