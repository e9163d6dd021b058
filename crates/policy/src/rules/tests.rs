//! Tables of rules: what each says of what.
