//! What a registry must do, by the distribution specification of OCI: the matrix of its conformance
//! program, 28 rows of the API by 15 shapes of data, is in `tests/matrix`. The program itself is run by
//! `run.sh` beside this; here the same is asked in every `cargo test`, and each case has a name.
