//! TLS by rustls, with the certificate authorities that browsers know and those that the user adds.

use std::io;
use std::sync::{Arc, OnceLock};

use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, ServerName};
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

/// Makes connections secure. Clones share one TLS configuration, which is built when it is first needed.
#[derive(Clone, Default)]
pub(crate) struct Connector(Arc<Trust>);

#[derive(Default)]
struct Trust {
    own: Vec<CertificateDer<'static>>,
    connector: OnceLock<TlsConnector>,
}

impl Connector {
    /// Adds the certificate authorities in `pem` to the trusted ones.
    pub(crate) fn trusting(&self, pem: &[u8]) -> Result<Self, String> {
        let mut own = self.0.own.clone();
        let known = own.len();
        for certificate in CertificateDer::pem_slice_iter(pem) {
            let certificate = certificate.map_err(|error| format!("a root certificate is not valid PEM: {error}"))?;
            RootCertStore::empty()
                .add(certificate.clone())
                .map_err(|error| format!("a root certificate is invalid: {error}"))?;
            own.push(certificate);
        }
        if own.len() == known {
            return Err("there is no certificate in the root certificates; give them as PEM".to_owned());
        }
        Ok(Self(Arc::new(Trust { own, connector: OnceLock::new() })))
    }

    pub(crate) async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connector = match self.0.connector.get() {
            Some(connector) => connector,
            None => {
                let made = self.0.connector()?;
                self.0.connector.get_or_init(|| made)
            }
        };
        connector.connect(name, stream).await
    }
}

impl Trust {
    fn connector(&self) -> io::Result<TlsConnector> {
        let mut roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
        for certificate in &self.own {
            roots.add(certificate.clone()).map_err(io::Error::other)?;
        }
        let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
            .with_safe_default_protocol_versions()
            .map_err(io::Error::other)?
            .with_root_certificates(roots)
            .with_no_client_auth();
        Ok(Arc::new(config).into())
    }
}
