//! What users write: the documents of lockgate.dev/v1alpha1, read with place and nearest name.
