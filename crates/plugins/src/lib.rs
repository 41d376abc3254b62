//! The plugins that come with Narthex. The core knows none of them; the server installs what the configuration
//! names, through the same [`Plugin`](narthex::Plugin) door that is open to everyone.

use narthex::AuthBuilder;

/// Installs the plugins in the order of the catalogue, which upstream's key and hook orders depend on.
#[must_use]
pub fn install(builder: AuthBuilder) -> AuthBuilder {
    builder
}
