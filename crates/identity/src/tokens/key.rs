//! One signing key, and the directory of them.

use crate::Error;
use crate::jwt::Claims;
use aws_lc_rs::rand::SystemRandom;
use aws_lc_rs::signature::{ECDSA_P256_SHA256_FIXED_SIGNING, EcdsaKeyPair, KeyPair};
use base64::Engine;
use base64::prelude::{BASE64_STANDARD, BASE64_URL_SAFE_NO_PAD};
use jiff::Timestamp;
use jsonwebtoken::{Algorithm, DecodingKey, EncodingKey, Validation};
use serde_json::{Value, json};
use std::fs::{self, DirBuilder, OpenOptions};
use std::io::{ErrorKind, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt};
use std::path::Path;
use std::sync::Arc;
use zeroize_on_drop::Wiped;

/// Keys of one directory.
const KEYS_MAX: usize = 64;
/// Of one key's file.
const FILE_MAX_BYTES: u64 = 16 << 10;

/// A P-256 key.
pub(super) struct SigningKey {
    kid: String,
    made: Timestamp,
    encoding: EncodingKey,
    decoding: DecodingKey,
    x: String,
    y: String,
}

impl SigningKey {
    /// A new one.
    pub(super) fn generate(made: Timestamp) -> Result<Self, Error> {
        Self::of(&pkcs8()?, made)
    }

    fn of(pkcs8: &Wiped, made: Timestamp) -> Result<Self, Error> {
        let bad = |error: &dyn std::fmt::Display| Error::Key(error.to_string());
        let pair = EcdsaKeyPair::from_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &pkcs8.0)
            .map_err(|error| bad(&error))?;
        // Uncompressed: 4, x, y (SEC 1 §2.3.3).
        let point = pair.public_key().as_ref();
        let (x, y) = match point {
            [4, rest @ ..] if rest.len() == 64 => rest.split_at(32),
            _ => return Err(Error::Key("its public point has another form".to_owned())),
        };
        let [x, y] = [x, y].map(|part| BASE64_URL_SAFE_NO_PAD.encode(part));
        // RFC 7638 §3.2: the members in this order, without blanks.
        let thumbprint =
            format!("{{\"crv\":\"P-256\",\"kty\":\"EC\",\"x\":\"{x}\",\"y\":\"{y}\"}}");
        let digest = aws_lc_rs::digest::digest(&aws_lc_rs::digest::SHA256, thumbprint.as_bytes());
        let decoding = DecodingKey::from_ec_components(&x, &y).map_err(|error| bad(&error))?;
        Ok(Self {
            kid: BASE64_URL_SAFE_NO_PAD.encode(digest.as_ref()),
            made,
            encoding: EncodingKey::from_ec_der(&pkcs8.0),
            decoding,
            x,
            y,
        })
    }

    pub(super) fn kid(&self) -> &str {
        &self.kid
    }

    pub(super) fn made(&self) -> Timestamp {
        self.made
    }

    pub(super) fn encoding(&self) -> &EncodingKey {
        &self.encoding
    }

    /// The public key.
    pub(super) fn jwk(&self) -> Value {
        json!({
            "kty": "EC", "crv": "P-256", "alg": "ES256", "use": "sig",
            "kid": self.kid, "x": self.x, "y": self.y,
        })
    }

    /// The claims, if this key signed the token.
    pub(super) fn verify(&self, token: &str) -> Option<Claims> {
        let mut validation = Validation::new(Algorithm::ES256);
        validation.required_spec_claims.clear();
        (validation.validate_exp, validation.validate_aud) = (false, false);
        Some(jsonwebtoken::decode::<Claims>(token, &self.decoding, &validation).ok()?.claims)
    }

    fn file_name(&self) -> String {
        format!("{}-{}.pem", self.made.as_second(), self.kid)
    }
}

fn pkcs8() -> Result<Wiped, Error> {
    let made = EcdsaKeyPair::generate_pkcs8(&ECDSA_P256_SHA256_FIXED_SIGNING, &SystemRandom::new());
    made.map(|it| Wiped(it.as_ref().to_vec())).map_err(|error| Error::Key(error.to_string()))
}

/// Makes the directory, for us alone.
pub(super) fn make_directory(dir: &Path) -> Result<(), Error> {
    match DirBuilder::new().recursive(true).mode(0o700).create(dir) {
        Ok(()) => Ok(()),
        Err(error) if error.kind() == ErrorKind::AlreadyExists => Ok(()),
        Err(error) => Err(Error::file(dir, error)),
    }
}

/// All keys of a directory, the oldest first.
pub(super) fn read_all(dir: &Path) -> Result<Vec<Arc<SigningKey>>, Error> {
    let mut keys = Vec::new();
    for entry in fs::read_dir(dir).map_err(|error| Error::file(dir, error))? {
        let path = entry.map_err(|error| Error::file(dir, error))?.path();
        let name = path.file_name().and_then(|name| name.to_str()).unwrap_or_default();
        let Some(made) = name.strip_suffix(".pem").and_then(|stem| stem.split('-').next()) else {
            continue;
        };
        let Ok(made) = made.parse::<i64>() else { continue };
        let made = Timestamp::from_second(made).map_err(|error| Error::file(&path, error))?;
        let length = fs::metadata(&path).map_err(|error| Error::file(&path, error))?.len();
        if length > FILE_MAX_BYTES || keys.len() >= KEYS_MAX {
            return Err(Error::file(&path, "too large, or one key too many"));
        }
        let text = fs::read_to_string(&path).map_err(|error| Error::file(&path, error))?;
        let der = from_pem(&text).ok_or_else(|| Error::file(&path, "it holds no private key"))?;
        keys.push(Arc::new(SigningKey::of(&der, made)?));
    }
    keys.sort_by(|a, b| (a.made, &a.kid).cmp(&(b.made, &b.kid)));
    Ok(keys)
}

/// Makes a key and writes it, whole or not at all.
pub(super) fn write(dir: &Path, made: Timestamp) -> Result<(), Error> {
    let der = pkcs8()?;
    let key = SigningKey::of(&der, made)?;
    let path = dir.join(key.file_name());
    let part = dir.join(format!(".{}.part", key.kid));
    let failed = |error: std::io::Error| Error::file(&path, error);
    let mut file =
        OpenOptions::new().write(true).create_new(true).mode(0o600).open(&part).map_err(failed)?;
    let text = Wiped(to_pem(&der).into_bytes());
    file.write_all(&text.0).and_then(|()| file.sync_all()).map_err(failed)?;
    fs::rename(&part, &path).map_err(failed)?;
    fs::File::open(dir).and_then(|dir| dir.sync_all()).map_err(failed)
}

pub(super) fn remove(dir: &Path, key: &SigningKey) -> Result<(), Error> {
    let path = dir.join(key.file_name());
    match fs::remove_file(&path) {
        // Another replica was faster.
        Err(error) if error.kind() == ErrorKind::NotFound => Ok(()),
        other => other.map_err(|error| Error::file(&path, error)),
    }
}

const BEGIN: &str = "-----BEGIN PRIVATE KEY-----";
const END: &str = "-----END PRIVATE KEY-----";

fn to_pem(der: &Wiped) -> String {
    let encoded = BASE64_STANDARD.encode(&der.0);
    let lines: Vec<&str> =
        encoded.as_bytes().chunks(64).filter_map(|line| std::str::from_utf8(line).ok()).collect();
    format!("{BEGIN}\n{}\n{END}\n", lines.join("\n"))
}

fn from_pem(text: &str) -> Option<Wiped> {
    let body = text.split_once(BEGIN)?.1.split_once(END)?.0;
    let body: String = body.split_whitespace().collect();
    BASE64_STANDARD.decode(body).ok().map(Wiped)
}

/// Bytes that leave no copy behind when they go.
mod zeroize_on_drop {
    pub(super) struct Wiped(pub(super) Vec<u8>);

    impl Drop for Wiped {
        fn drop(&mut self) {
            self.0.iter_mut().for_each(|byte| *byte = 0);
            // Keeps the loop from being left out.
            std::hint::black_box(&self.0);
        }
    }
}
