//! Serving a site by itself.

use std::io;
use std::net::SocketAddr;

use axum::Router;
use homing::Homing;
use tokio::net::TcpListener;

use crate::{Options, router};

/// Serves a site on a listener until `ended` has come; open streams end with it.
///
/// # Errors
/// What the listener says.
pub async fn serve(
    homing: Homing,
    options: Options,
    listener: TcpListener,
    ended: impl Future<Output = ()> + Send + 'static,
) -> io::Result<()> {
    let app = match options.base.clone() {
        Some(base) if !base.is_empty() => {
            // With a proxy that takes the path off, and with one that does not.
            let site = router(homing, options);
            Router::new().nest(&base, site.clone()).fallback_service(site)
        }
        _ => router(homing, options),
    };
    let app = app.into_make_service_with_connect_info::<SocketAddr>();
    tokio::select! {
        // Streams never end by themselves, so there is nothing to wait for.
        served = async { axum::serve(listener, app).await } => served,
        () = ended => Ok(()),
    }
}

/// A token of chance, 32 hexadecimal digits.
///
/// # Errors
/// The machine has no source of chance.
pub fn fresh_token() -> io::Result<String> {
    let mut chance = [0; 16];
    getrandom::fill(&mut chance).map_err(io::Error::other)?;
    Ok(crate::guard::keys::hex(&chance))
}
