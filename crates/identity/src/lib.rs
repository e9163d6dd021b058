//! LEAD's placeholder, so that plane compiles. Helper IDENT: replace all of it; plane uses exactly these names and
//! signatures (is_ours, verify_access, verify_refresh, has, revalidate, clusters, who_would_vouch are new to you).
use jiff::Timestamp; use policy::{Identity, PrincipalKind}; use secrecy::SecretString; use std::time::Duration; use std::path::Path;
use rustls_pki_types::CertificateDer;
#[derive(Default)] pub struct Providers;
impl Providers { pub fn is_empty(&self)->bool{true} pub fn has(&self,_provider:&str)->bool{true}
 pub async fn identify(&self,_:&Presented<'_>,_:Timestamp)->Result<Identity,IdentifyError>{unimplemented!()}
 /// whether what vouched once still would (a local user that was removed, ...); called for refresh tokens
 pub async fn revalidate(&self,_:&Identity,_:Timestamp)->Result<(),IdentifyError>{Ok(())}
 pub fn login_offers(&self)->Vec<LoginOffer>{vec![]}
 /// names of the clusters that providers stand for, each once
 pub fn clusters(&self)->Vec<String>{vec![]}
 /// (provider, issuer) that would vouch for such a principal: for `lockgate check --as`
 pub fn who_would_vouch(&self,_:PrincipalKind,_cluster:Option<&str>)->Option<(String,String)>{None} }
#[derive(Clone,Debug,serde::Serialize)] pub struct LoginOffer{}
#[derive(Clone,Copy)] pub enum Presented<'a>{Bearer(&'a str),Basic{username:&'a str,password:&'a str},Certificate(&'a [CertificateDer<'a>])}
#[derive(Debug,thiserror::Error)] pub enum IdentifyError{#[error("{reason}")]Wrong{reason:String},#[error("{reason}")]CannotTell{provider:String,reason:String}}
pub struct TokenKeys; pub struct AccessToken{pub text:SecretString,pub lifetime:Duration}
#[derive(Debug,thiserror::Error)] #[error("x")] pub struct Error;
pub enum TokenHolder{Anonymous{expires:Timestamp},Identity{identity:Identity,expires:Timestamp}}
impl TokenKeys{pub fn open(_:&Path,_:Timestamp)->Result<Self,Error>{Ok(Self)} 
 /// keys that live only as long as the process, where the directory cannot be used
 pub fn in_memory(_:Timestamp)->Result<Self,Error>{Ok(Self)}
 pub fn jwks(&self)->serde_json::Value{serde_json::Value::Null} 
 /// by the unverified `iss` alone: whether a text claims to be one of our tokens
 pub fn is_ours(&self,_:&str)->bool{false}
 pub fn issue(&self,_:Option<&Identity>,_service:&str,_:Timestamp,_:Duration)->Result<AccessToken,IdentifyError>{unimplemented!()}
 pub fn issue_refresh(&self,_:&Identity,_:&str,_:Timestamp,_:Duration)->Result<SecretString,IdentifyError>{unimplemented!()}
 pub fn verify_access(&self,_:&str,_service:&str,_:Timestamp)->Result<TokenHolder,IdentifyError>{unimplemented!()}
 pub fn verify_refresh(&self,_:&str,_:&str,_:Timestamp)->Result<Identity,IdentifyError>{unimplemented!()} }
