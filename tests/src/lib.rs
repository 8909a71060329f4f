//! What the test targets of this crate share.
