//! What errors of a shell mean for a check.

use basilica_ports::ShellError;
use basilica_verification::Break;

/// What an error while connecting means.
pub const fn connect_break(error: &ShellError) -> Break {
    match error {
        ShellError::Deadline { .. } => Break::ConnectDeadline,
        ShellError::Lost { .. } => Break::Unreachable,
        other => command_break(other),
    }
}

/// What an error of a running command means.
pub const fn command_break(error: &ShellError) -> Break {
    match error {
        ShellError::Identity { .. } => Break::OwnKey,
        ShellError::Resolve { .. } => Break::Unresolved,
        ShellError::ForbiddenAddress { .. } => Break::ForbiddenAddress,
        ShellError::Connect { .. } => Break::Unreachable,
        ShellError::LockedOut { .. } => Break::LockedOut,
        ShellError::HostKey { .. } => Break::HostKey,
        ShellError::Denied { .. } => Break::Denied,
        ShellError::Deadline { .. } => Break::CommandDeadline,
        ShellError::Lost { .. } => Break::Lost,
        ShellError::TooMuchOutput { .. } => Break::TooMuchOutput,
    }
}
