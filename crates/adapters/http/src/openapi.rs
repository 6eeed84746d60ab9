//! Which page is where, and the document that says so.

use axum::Router;
use axum::middleware::from_fn;
use axum::routing::get;
use utoipa::openapi::OpenApi;
use utoipa::openapi::security::{ApiKey, ApiKeyValue, SecurityScheme};
use utoipa_axum::router::OpenApiRouter;
use utoipa_axum::routes;
use utoipa_swagger_ui::SwaggerUi;

use crate::access::only_known;
use crate::problem::Problem;
use crate::routes::{Pages, files, fleet, health, miners, nodes, operator, verdict_log, weights};

#[derive(utoipa::OpenApi)]
#[openapi(
    info(
        title = "Basilica validator",
        description = "What a validator knows of miners and nodes, and why their weights are what they are. Reads only. \
                       Everything that a validator must be able to defend is for everybody; pages with a lock, and the \
                       addresses of nodes, are for those who show the API key or sign their requests with an allowed \
                       hotkey (`btauth/1`).",
        license(name = "Apache-2.0 OR MIT", identifier = "Apache-2.0 OR MIT"),
    ),
    components(schemas(Problem)),
    tags(
        (name = "health", description = "Whether the validator can do its work"),
        (name = "miners", description = "Miners"),
        (name = "nodes", description = "Nodes and their verdicts"),
        (name = "gpus", description = "GPUs that count, and categories"),
        (name = "verification", description = "Checks"),
        (name = "weights", description = "Weights on chain"),
        (name = "files", description = "Signed files that anybody can check"),
        (name = "config", description = "Configuration"),
    ),
)]
struct Described;

fn public() -> OpenApiRouter<Pages> {
    OpenApiRouter::default()
        .routes(routes!(health::health))
        .routes(routes!(health::live))
        .routes(routes!(health::ready))
        .routes(routes!(miners::list))
        .routes(routes!(miners::one))
        .routes(routes!(miners::health))
        .routes(routes!(miners::nodes_of))
        .routes(routes!(nodes::list))
        .routes(routes!(nodes::one))
        .routes(routes!(nodes::verdicts))
        .routes(routes!(miners::profiles))
        .routes(routes!(miners::profiles_of))
        .routes(routes!(miners::categories))
        .routes(routes!(miners::results))
        .routes(routes!(fleet::fleet))
        .routes(routes!(fleet::leadership))
        .routes(routes!(weights::latest))
        .routes(routes!(weights::windows))
        .routes(routes!(weights::emission))
        .routes(routes!(files::verdict))
        .routes(routes!(files::transcript))
        .routes(routes!(verdict_log::days))
        .routes(routes!(verdict_log::day))
        .routes(routes!(verdict_log::inclusion))
}

fn private() -> OpenApiRouter<Pages> {
    OpenApiRouter::default()
        .routes(routes!(operator::active))
        .routes(routes!(operator::config))
        .routes(routes!(operator::verification))
        .routes(routes!(operator::emission))
}

fn described() -> (Router<Pages>, OpenApi) {
    let locked = private().layer(from_fn(only_known));
    let all = OpenApiRouter::with_openapi(<Described as utoipa::OpenApi>::openapi());
    let (router, mut document) = all.merge(public()).merge(locked).split_for_parts();
    let in_header = |name: &str, about: &str| {
        SecurityScheme::ApiKey(ApiKey::Header(ApiKeyValue::with_description(name, about)))
    };
    let components = document.components.get_or_insert_default();
    components.add_security_scheme(
        "api_key",
        in_header("X-API-Key", "The key in the file that `api.api_key_file` names"),
    );
    components.add_security_scheme(
        "btauth",
        in_header(
            "X-Bittensor-Signature",
            "`btauth/1` with its other headers, as the Bittensor SDK signs requests",
        ),
    );
    (router, document)
}

/// The OpenAPI document of the API.
pub fn document() -> OpenApi {
    described().1
}

/// All pages, the document and its user interface.
pub(crate) fn router(pages: Pages) -> Router {
    let (router, document) = described();
    let json = document.clone();
    let ui = SwaggerUi::new("/swagger-ui").url("/api-docs/openapi.json", document);
    router.route("/openapi.json", get(async move || axum::Json(json))).with_state(pages).merge(ui)
}
