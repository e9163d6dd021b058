//! An OpenID Connect issuer, honest or not, and the browser of somebody who logs in there.
#![allow(dead_code, clippy::unwrap_used, reason = "each test file uses a part of it")]

use aws_lc_rs::digest::{SHA256, digest};
use base64::Engine;
use base64::prelude::BASE64_URL_SAFE_NO_PAD;
use bytes::Bytes;
use http_body_util::{BodyExt, Full};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper::{Request, Response, StatusCode, header};
use hyper_util::rt::TokioIo;
use jiff::Timestamp;
use jsonwebtoken::jwk::Jwk;
use jsonwebtoken::{Algorithm, EncodingKey, Header};
use serde_json::{Value, json};
use std::collections::{HashMap, VecDeque};
use std::convert::Infallible;
use std::net::SocketAddr;
use std::sync::{Arc, Mutex, MutexGuard};
use tokio::net::TcpListener;
use url::Url;

/// The client that is registered there, and so the audience of ID tokens.
pub(crate) const CLIENT: &str = "lockgate-cli";

/// What it does, honestly or not.
#[derive(Default)]
pub(crate) struct Plan {
    /// Members of the metadata that are replaced; null removes.
    pub(crate) metadata: HashMap<&'static str, Value>,
    /// Parameters of the answer in the browser that are replaced; empty removes.
    pub(crate) answer: HashMap<&'static str, String>,
    /// Claims of ID tokens that are replaced.
    pub(crate) claims: HashMap<&'static str, Value>,
    /// What it says to those who ask with a device code, one after the other; then it gives the token.
    pub(crate) device: VecDeque<&'static str>,
}

/// An issuer.
#[derive(Clone)]
pub(crate) struct Issuer(Arc<Inner>);

struct Inner {
    address: SocketAddr,
    key: EncodingKey,
    jwk: Value,
    plan: Mutex<Plan>,
    /// Of the login under way: what the token endpoint needs to know of it.
    begun: Mutex<HashMap<String, String>>,
    /// All that was asked: method, path and form or query.
    asked: Mutex<Vec<String>>,
}

impl Issuer {
    pub(crate) async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
        let key = rcgen::KeyPair::generate().unwrap();
        let key = EncodingKey::from_ec_der(&key.serialize_der());
        let jwk = Jwk::from_encoding_key(&key, Algorithm::ES256).unwrap();
        let mut jwk = serde_json::to_value(jwk).unwrap();
        (jwk["kid"], jwk["use"]) = (json!("k1"), json!("sig"));
        let address = listener.local_addr().unwrap();
        let (plan, begun, asked) = Default::default();
        let issuer = Self(Arc::new(Inner { address, key, jwk, plan, begun, asked }));
        tokio::spawn(issuer.clone().accept(listener));
        issuer
    }

    pub(crate) fn url(&self) -> String {
        format!("http://{}", self.0.address)
    }

    pub(crate) fn plan(&self) -> MutexGuard<'_, Plan> {
        self.0.plan.lock().unwrap()
    }

    /// Everything that was asked, in order.
    pub(crate) fn asked(&self) -> Vec<String> {
        self.0.asked.lock().unwrap().clone()
    }

    /// The set of its only key.
    pub(crate) fn keys(&self) -> String {
        json!({ "keys": [self.0.jwk] }).to_string()
    }

    /// A token with more claims.
    pub(crate) fn token(&self, more: &[(&str, Value)]) -> String {
        let now = Timestamp::now().as_second();
        let mut claims = json!({
            "iss": self.url(), "aud": CLIENT, "sub": "42", "iat": now - 5, "exp": now + 600,
            "email": "alice@example.test", "email_verified": true,
        });
        for (name, value) in more {
            claims[*name] = value.clone();
        }
        let header = Header { kid: Some("k1".to_owned()), ..Header::new(Algorithm::ES256) };
        jsonwebtoken::encode(&header, &claims, &self.0.key).unwrap()
    }

    /// The document that makes a plane trust it, and offer it.
    pub(crate) fn document(&self, name: &str, jwks_file: &str) -> String {
        format!(
            "apiVersion: lockgate.dev/v1alpha1\nkind: IdentityProvider\nmetadata: {{ name: {name} }}\n\
             spec:\n  oidc:\n    issuer: {}\n    audiences: [{CLIENT}, 127.0.0.1, ci]\n    jwksFile: {jwks_file}\n    \
             login: {{ clientId: {CLIENT}, scopes: [email] }}\n",
            self.url()
        )
    }

    async fn accept(self, listener: TcpListener) {
        loop {
            let Ok((stream, _)) = listener.accept().await else { return };
            let issuer = self.clone();
            let service = service_fn(move |request| {
                let issuer = issuer.clone();
                async move { Ok::<_, Infallible>(issuer.answer(request).await) }
            });
            tokio::spawn(
                hyper::server::conn::http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service),
            );
        }
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let (parts, body) = request.into_parts();
        let body = body.collect().await.unwrap().to_bytes();
        let path = parts.uri.path();
        let query = parts.uri.query().unwrap_or_default().as_bytes().to_vec();
        let text = if body.is_empty() { query } else { body.to_vec() };
        let fields: HashMap<String, String> =
            url::form_urlencoded::parse(&text).into_owned().collect();
        let line = format!("{} {path} {}", parts.method, String::from_utf8_lossy(&text));
        self.0.asked.lock().unwrap().push(line);
        match path {
            "/.well-known/openid-configuration" => as_json(StatusCode::OK, &self.metadata()),
            "/authorize" => self.authorize(fields),
            "/device" => {
                let answer = json!({
                    "device_code": "secret-of-the-device", "user_code": "WDJB-MJHT", "expires_in": 600,
                    "verification_uri": format!("{}/activate", self.url()), "interval": 1,
                });
                as_json(StatusCode::OK, &answer)
            }
            "/token" => self.give(&fields),
            "/actions" => {
                let shown = parts.headers.get(header::AUTHORIZATION).map(|it| it.as_bytes());
                assert_eq!(shown, Some(&b"Bearer of-the-job"[..]));
                let audience = fields["audience"].as_str();
                as_json(
                    StatusCode::OK,
                    &json!({ "value": self.token(&[("aud", json!(audience))]) }),
                )
            }
            _ => as_json(StatusCode::NOT_FOUND, &json!({})),
        }
    }

    fn metadata(&self) -> Value {
        let at = |path: &str| json!(format!("{}{path}", self.url()));
        let mut metadata = json!({
            "issuer": self.url(), "authorization_endpoint": at("/authorize"),
            "token_endpoint": at("/token"), "device_authorization_endpoint": at("/device"),
            "code_challenge_methods_supported": ["S256"],
        });
        for (name, value) in &self.plan().metadata {
            metadata[*name] = value.clone();
        }
        metadata
    }

    /// Sends the browser back at once: whoever comes is logged in.
    fn authorize(&self, fields: HashMap<String, String>) -> Response<Full<Bytes>> {
        let mut back: Url = fields["redirect_uri"].parse().unwrap();
        let mut answer: HashMap<&str, String> = HashMap::from([
            ("code", "the-code".to_owned()),
            ("state", fields["state"].clone()),
            ("iss", self.url()),
        ]);
        answer.extend(self.plan().answer.clone());
        back.query_pairs_mut().extend_pairs(answer.iter().filter(|(_, value)| !value.is_empty()));
        *self.0.begun.lock().unwrap() = fields;
        let mut response = as_json(StatusCode::FOUND, &json!({}));
        response.headers_mut().insert(header::LOCATION, back.as_str().parse().unwrap());
        response
    }

    fn give(&self, fields: &HashMap<String, String>) -> Response<Full<Bytes>> {
        let refused = |error: &str| as_json(StatusCode::BAD_REQUEST, &json!({ "error": error }));
        let mut claims = self.plan().claims.clone();
        match fields["grant_type"].as_str() {
            "authorization_code" => {
                let begun = self.0.begun.lock().unwrap();
                let verifier = digest(&SHA256, fields["code_verifier"].as_bytes());
                let is_right = begun["code_challenge"] == BASE64_URL_SAFE_NO_PAD.encode(verifier)
                    && begun["code_challenge_method"] == "S256"
                    && begun["redirect_uri"] == fields["redirect_uri"]
                    && begun["scope"] == "openid email"
                    && fields["code"] == "the-code";
                if !is_right {
                    return refused("invalid_grant");
                }
                claims.entry("nonce").or_insert_with(|| json!(begun["nonce"]));
            }
            _ => {
                assert_eq!(fields["device_code"], "secret-of-the-device");
                if let Some(error) = self.plan().device.pop_front() {
                    return refused(error);
                }
            }
        }
        assert_eq!(fields["client_id"], CLIENT);
        let claims: Vec<(&str, Value)> = claims.into_iter().collect();
        let answer = json!({ "access_token": "of-the-issuer", "id_token": self.token(&claims) });
        as_json(StatusCode::OK, &answer)
    }
}

fn as_json(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(Bytes::from(value.to_string())));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, "application/json".parse().unwrap());
    response
}

/// What a browser does with an address: follows where it leads on this machine. The last page.
pub(crate) async fn browse(url: &str) -> testkit::client::Response {
    let mut url: Url = url.parse().unwrap();
    for _ in 0..5 {
        let host = format!("{}:{}", url.host_str().unwrap(), url.port().unwrap());
        let path = format!("{}?{}", url.path(), url.query().unwrap_or_default());
        let answer = testkit::client::get(host.as_str(), &path, &[]).await.unwrap();
        match answer.header("location") {
            Some(location) => url = url.join(location).unwrap(),
            None => return answer,
        }
    }
    panic!("it leads around in a circle");
}
