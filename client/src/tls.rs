//! TLS by rustls, with the certificate authorities that browsers know.

use std::io;
use std::sync::Arc;

use tokio::net::TcpStream;
use tokio_rustls::client::TlsStream;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::ServerName;
use tokio_rustls::rustls::{ClientConfig, RootCertStore};

#[derive(Default)]
pub(crate) struct Connector(std::sync::OnceLock<tokio_rustls::TlsConnector>);

impl Connector {
    pub(crate) async fn connect(&self, host: &str, stream: TcpStream) -> io::Result<TlsStream<TcpStream>> {
        let name = ServerName::try_from(host.to_owned()).map_err(io::Error::other)?;
        let connector = match self.0.get() {
            Some(connector) => connector,
            None => {
                let made = connector()?;
                self.0.get_or_init(|| made)
            }
        };
        connector.connect(name, stream).await
    }
}

fn connector() -> io::Result<tokio_rustls::TlsConnector> {
    let roots = RootCertStore { roots: webpki_roots::TLS_SERVER_ROOTS.to_vec() };
    let config = ClientConfig::builder_with_provider(Arc::new(ring::default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(io::Error::other)?
        .with_root_certificates(roots)
        .with_no_client_auth();
    Ok(Arc::new(config).into())
}
