//! TLS for outgoing requests, verified with the root certificates of the system.

use std::sync::Arc;

use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Makes the settings for clients, with the root certificates of the system, or with those of `SSL_CERT_FILE` and
/// `SSL_CERT_DIR` if these are set.
///
/// # Errors
/// A sentence, if no certificate can be read.
pub(super) fn config() -> Result<Arc<ClientConfig>, String> {
    let found = rustls_native_certs::load_native_certs();
    let mut roots = RootCertStore::empty();
    let (added, _) = roots.add_parsable_certificates(found.certs);
    if added == 0 {
        let why = found.errors.first().map_or_else(|| "there is none".to_owned(), ToString::to_string);
        return Err(format!("no root certificate can be read (SSL_CERT_FILE, SSL_CERT_DIR): {why}"));
    }
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config))
}
