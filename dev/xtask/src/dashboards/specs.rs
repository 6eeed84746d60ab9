//! What is on each dashboard.

use super::Kind::{Areas, Lines, Number, Rows};
use super::Unit::{Bytes, Count, Moment, PerSecond, Seconds, Share};
use super::{Dashboard, Kind, Panel, Unit};

const fn panel(
    title: &'static str,
    kind: Kind,
    unit: Unit,
    queries: &'static [(&'static str, &'static str)],
) -> Panel {
    Panel { title, kind, unit, queries }
}

/// The four that the seeds name.
pub(super) const ALL: &[Dashboard] = &[
    Dashboard { uid: "validator-performance", title: "Validator Performance", panels: VALIDATOR },
    Dashboard { uid: "miner-fleet-status", title: "Miner Fleet Status", panels: FLEET },
    Dashboard { uid: "gpu-utilization", title: "GPU Utilization", panels: GPUS },
    Dashboard { uid: "network-health", title: "Network Health", panels: NETWORK },
];

const VALIDATOR: &[Panel] = &[
    panel("Leading", Number, Count, &[("basilica_validator_leading{$I}", "{{instance}}")]),
    panel("Up for", Number, Seconds, &[("basilica_validator_uptime_seconds{$I}", "{{instance}}")]),
    panel(
        "Weights set in 24 h",
        Number,
        Count,
        &[("round(increase(basilica_weight_set_total{$I}[24h]))", "{{instance}}")],
    ),
    panel(
        "Conditions that do not hold",
        Number,
        Count,
        &[("sum(1 - basilica_validator_condition{$I})", "conditions")],
    ),
    panel(
        "Checks concluded",
        Lines,
        PerSecond,
        &[
            ("sum by (type) (rate(basilica_verification_total{$I}[$__rate_interval]))", "{{type}}"),
            (
                "sum by (type) (rate(basilica_verification_success_total{$I}[$__rate_interval]))",
                "{{type}}, passed",
            ),
        ],
    ),
    panel(
        "Failed checks by reason",
        Areas,
        PerSecond,
        &[(
            "sum by (reason) (rate(basilica_validator_validation_errors_total{$I}[$__rate_interval])) > 0",
            "{{reason}}",
        )],
    ),
    panel(
        "How long checks take",
        Lines,
        Seconds,
        &[
            (
                "histogram_quantile(0.5, sum by (type, le) (rate(basilica_validator_validation_duration_seconds_bucket{$I}[$__rate_interval])))",
                "{{type}}, half",
            ),
            (
                "histogram_quantile(0.99, sum by (type, le) (rate(basilica_validator_validation_duration_seconds_bucket{$I}[$__rate_interval])))",
                "{{type}}, 99 %",
            ),
        ],
    ),
    panel(
        "Checks under way",
        Lines,
        Count,
        &[
            ("sum by (type) (basilica_validator_validations_in_flight{$I})", "{{type}}"),
            (
                "sum(rate(basilica_validator_validation_tries_inconclusive_total{$I}[$__rate_interval]))",
                "tries to be repeated, per second",
            ),
        ],
    ),
    panel(
        "Weights",
        Lines,
        Count,
        &[
            ("increase(basilica_validator_weight_commits_total{$I}[1h])", "{{instance}}, committed in 1 h"),
            ("increase(basilica_validator_consensus_weight_sets_total{$I}[1h])", "{{instance}}, set in 1 h"),
            (
                "increase(basilica_validator_weight_set_failures_total{$I}[1h])",
                "{{instance}}, windows failed in 1 h",
            ),
        ],
    ),
    panel(
        "Trouble with weights",
        Areas,
        Count,
        &[(
            "sum by (reason) (increase(basilica_validator_weight_problems_total{$I}[10m])) > 0",
            "{{reason}}",
        )],
    ),
    panel(
        "CPU",
        Lines,
        Share,
        &[("rate(process_cpu_seconds_total{$I}[$__rate_interval])", "{{instance}}, of one core")],
    ),
    panel("Memory", Lines, Bytes, &[("process_resident_memory_bytes{$I}", "{{instance}}")]),
    panel(
        "How long the database takes (99 %)",
        Lines,
        Seconds,
        &[(
            "histogram_quantile(0.99, sum by (pool, le) (rate(basilica_validator_database_query_duration_seconds_bucket{$I}[$__rate_interval])))",
            "{{pool}}",
        )],
    ),
    panel(
        "What the database is asked",
        Lines,
        PerSecond,
        &[
            (
                "sum by (pool) (rate(basilica_validator_database_operations_total{$I}[$__rate_interval]))",
                "{{pool}}",
            ),
            (
                "sum by (pool) (rate(basilica_validator_database_errors_total{$I}[$__rate_interval])) > 0",
                "{{pool}}, failed",
            ),
        ],
    ),
    panel(
        "Connections to the database in use",
        Lines,
        Share,
        &[(
            "max by (pool) (basilica_validator_database_connections_active{$I} / basilica_validator_database_connections_max{$I})",
            "{{pool}}",
        )],
    ),
    panel(
        "Answers of the API",
        Areas,
        PerSecond,
        &[(
            "sum by (status) (rate(basilica_validator_http_requests_total{$I}[$__rate_interval]))",
            "{{status}}",
        )],
    ),
    panel(
        "How long answers take (99 %)",
        Lines,
        Seconds,
        &[(
            "histogram_quantile(0.99, sum by (path, le) (rate(basilica_validator_http_request_duration_seconds_bucket{$I}[$__rate_interval])))",
            "{{path}}",
        )],
    ),
    panel(
        "Tasks started again",
        Lines,
        Count,
        &[
            ("sum by (task) (increase(basilica_validator_task_restarts_total{$I}[1h]))", "{{task}}"),
            ("basilica_validator_tasks_running{$I}", "{{instance}}, running"),
        ],
    ),
    panel(
        "Leaders",
        Lines,
        Count,
        &[
            ("basilica_validator_leading{$I}", "{{instance}} leads"),
            (
                "increase(basilica_validator_leadership_terms_total{$I}[1h])",
                "{{instance}}, terms begun in 1 h",
            ),
        ],
    ),
];

const FLEET: &[Panel] = &[
    panel(
        "Miners with an axon",
        Number,
        Count,
        &[("max(basilica_validator_discovered_miners{$I})", "miners")],
    ),
    panel(
        "Nodes listed",
        Number,
        Count,
        &[("max(sum by (instance) (basilica_validator_miner_nodes{$I}))", "nodes")],
    ),
    panel(
        "Nodes available",
        Number,
        Count,
        &[("max(sum by (instance) (basilica_validator_miner_available_nodes{$I}))", "nodes")],
    ),
    panel("Nodes banned", Number, Count, &[("max(basilica_validator_nodes_banned{$I})", "nodes")]),
    panel(
        "Nodes",
        Lines,
        Count,
        &[
            ("max(sum by (instance) (basilica_validator_miner_nodes{$I}))", "listed"),
            ("max(sum by (instance) (basilica_validator_miner_available_nodes{$I}))", "available"),
            ("max(basilica_validator_nodes_banned{$I})", "banned"),
        ],
    ),
    panel(
        "Failed checks by reason",
        Areas,
        Count,
        &[(
            "sum by (reason) (increase(basilica_validator_validation_errors_total{$I}[10m])) > 0",
            "{{reason}}",
        )],
    ),
    panel(
        "Miners",
        Rows,
        Share,
        &[("max by (miner_hotkey) (basilica_validator_miner_score{$I})", "{{miner_hotkey}}")],
    ),
    panel(
        "Weights on chain",
        Rows,
        Count,
        &[(
            "max by (miner_hotkey) (sum by (instance, miner_hotkey) (basilica_validator_miner_weight{$I}))",
            "{{miner_hotkey}}",
        )],
    ),
    panel(
        "Longest since a passed full check",
        Lines,
        Seconds,
        &[(
            "max by (miner_hotkey) (time() - max by (miner_hotkey, node_id) (basilica_validator_node_last_validation_timestamp_seconds{$I}))",
            "{{miner_hotkey}}",
        )],
    ),
    panel(
        "Nodes on their way up the ramp",
        Lines,
        Count,
        &[
            ("count(max by (node_id) (basilica_node_uptime_multiplier{$I}) < 1)", "below 1"),
            ("count(max by (node_id) (basilica_node_uptime_multiplier{$I}) >= 1)", "at 1"),
        ],
    ),
    panel(
        "Banned nodes, and until when",
        Rows,
        Moment,
        &[("max by (miner_hotkey, node_id) (validator_node_ban_till{$I})", "{{node_id}}")],
    ),
    panel(
        "Nodes scored zero",
        Rows,
        Share,
        &[("max by (miner_hotkey, node_id) (basilica_validator_validation_score{$I}) == 0", "{{node_id}}")],
    ),
    panel(
        "Nodes banned now",
        Lines,
        Count,
        &[(
            "sum by (miner_hotkey) (max by (miner_hotkey, node_id) (validator_executor_ban_active_status{$I})) > 0",
            "{{miner_hotkey}}",
        )],
    ),
    panel(
        "Discovery",
        Lines,
        PerSecond,
        &[
            ("sum(rate(basilica_miners_discovered_total{$I}[$__rate_interval]))", "verified answers"),
            ("sum(rate(basilica_validator_discovery_failures_total{$I}[$__rate_interval]))", "failures"),
        ],
    ),
];

const GPUS: &[Panel] = &[
    panel(
        "GPUs that count",
        Number,
        Count,
        &[("max(sum by (instance) (basilica_validator_miner_gpu_count{$I}))", "GPUs")],
    ),
    panel(
        "Nodes with GPUs that count",
        Number,
        Count,
        &[("max(count by (instance) (basilica_validator_node_gpu_count{$I} > 0))", "nodes")],
    ),
    panel(
        "GPUs of nodes that score",
        Number,
        Count,
        &[(
            "max(sum by (instance) (basilica_validator_node_gpu_count{$I} and on (instance, node_id, miner_hotkey) basilica_validator_validation_score{$I} > 0))",
            "GPUs",
        )],
    ),
    panel(
        "Of all that count",
        Number,
        Share,
        &[(
            "sum(basilica_validator_node_gpu_count{$I} and on (instance, node_id, miner_hotkey) basilica_validator_validation_score{$I} > 0) / sum(basilica_validator_node_gpu_count{$I})",
            "score",
        )],
    ),
    panel(
        "By category",
        Areas,
        Count,
        &[(
            "max by (category) (sum by (instance, category) (basilica_validator_miner_gpu_count{$I}))",
            "{{category}}",
        )],
    ),
    panel(
        "By miner",
        Areas,
        Count,
        &[(
            "max by (miner_hotkey) (sum by (instance, miner_hotkey) (basilica_validator_miner_gpu_count{$I}))",
            "{{miner_hotkey}}",
        )],
    ),
    panel(
        "Miners' GPUs",
        Rows,
        Count,
        &[("max by (miner_hotkey, category) (basilica_validator_miner_gpu_count{$I})", "{{miner_hotkey}}")],
    ),
    panel(
        "GPUs of banned nodes",
        Lines,
        Count,
        &[(
            "sum(max by (miner_hotkey, node_id) (basilica_validator_node_gpu_count{$I} and on (instance, node_id, miner_hotkey) validator_executor_ban_active_status{$I} == 1))",
            "GPUs",
        )],
    ),
];

const NETWORK: &[Panel] = &[
    panel("Endpoints up", Number, Count, &[("sum(chain_endpoint_up{$I})", "endpoints")]),
    panel("Metagraph read", Number, Seconds, &[("max(chain_metagraph_age_seconds{$I})", "ago")]),
    panel(
        "Connections to nodes",
        Number,
        Count,
        &[("sum(basilica_validator_ssh_active_connections{$I})", "kept")],
    ),
    panel(
        "Checks without a login",
        Number,
        Share,
        &[(
            "sum(rate(basilica_validator_ssh_connections_reused_total{$I}[1h])) / (sum(rate(basilica_validator_ssh_connections_reused_total{$I}[1h])) + sum(rate(basilica_validator_ssh_connections_opened_total{$I}[1h])))",
            "share",
        )],
    ),
    panel("Newest finalised block", Lines, Count, &[("chain_endpoint_head{$I}", "{{endpoint}} {{place}}")]),
    panel("Endpoint in use", Lines, Count, &[("chain_endpoint_in_use{$I}", "{{endpoint}} {{place}}")]),
    panel(
        "Logins",
        Lines,
        PerSecond,
        &[
            ("sum(rate(basilica_validator_ssh_connections_total{$I}[$__rate_interval]))", "tried"),
            (
                "sum(rate(basilica_validator_ssh_connections_opened_total{$I}[$__rate_interval]))",
                "successful",
            ),
            ("sum(rate(basilica_validator_ssh_failures_total{$I}[$__rate_interval]))", "failed"),
            ("sum(rate(basilica_validator_ssh_logins_postponed_total{$I}[$__rate_interval]))", "put off"),
        ],
    ),
    panel(
        "How long logins take",
        Lines,
        Seconds,
        &[
            (
                "histogram_quantile(0.5, sum by (le) (rate(basilica_validator_ssh_connection_duration_seconds_bucket{$I}[$__rate_interval])))",
                "half",
            ),
            (
                "histogram_quantile(0.99, sum by (le) (rate(basilica_validator_ssh_connection_duration_seconds_bucket{$I}[$__rate_interval])))",
                "99 %",
            ),
        ],
    ),
    panel(
        "State of endpoints",
        Rows,
        Count,
        &[("max by (endpoint, place, state) (chain_endpoint_state{$I})", "{{endpoint}}")],
    ),
    panel("Conditions", Lines, Count, &[("basilica_validator_condition{$I}", "{{instance}} {{name}}")]),
    panel(
        "File descriptors",
        Lines,
        Share,
        &[("process_open_fds{$I} / process_max_fds{$I}", "{{instance}}, of the most")],
    ),
    panel(
        "Disk",
        Lines,
        Share,
        &[(
            "basilica_validator_disk_usage_bytes{$I} / basilica_validator_disk_total_bytes{$I}",
            "{{instance}}",
        )],
    ),
];
