//! Who holds a TCP port: for the error message when an address is in use.

use std::fs;
use std::path::Path;

/// `/proc` may hold very many processes; the search ends after this many.
const PROCESSES_MAX: usize = 20_000;

/// The process that listens on `port`, as `process 1234 (nginx)`, if this system and our rights let
/// us find out (Linux; another user's processes stay hidden).
pub(super) fn port_owner(port: u16) -> Option<String> {
    let inodes: Vec<String> = ["/proc/net/tcp", "/proc/net/tcp6"]
        .iter()
        .filter_map(|table| fs::read_to_string(table).ok())
        .flat_map(|table| listening_inodes(&table, port))
        .collect();
    let links: Vec<String> = inodes.iter().map(|inode| format!("socket:[{inode}]")).collect();
    let processes = fs::read_dir("/proc").ok()?.flatten().take(PROCESSES_MAX);
    for process in processes.filter(|_| !links.is_empty()) {
        let pid = process.file_name().to_string_lossy().into_owned();
        if pid.bytes().all(|byte| byte.is_ascii_digit()) && holds(&process.path(), &links) {
            let name = fs::read_to_string(process.path().join("comm")).unwrap_or_default();
            return Some(format!("process {pid} ({})", name.trim()));
        }
    }
    None
}

fn holds(process: &Path, links: &[String]) -> bool {
    let Ok(descriptors) = fs::read_dir(process.join("fd")) else { return false };
    descriptors
        .flatten()
        .filter_map(|descriptor| fs::read_link(descriptor.path()).ok())
        .any(|target| links.iter().any(|link| target.as_os_str() == link.as_str()))
}

/// Inodes of sockets in state LISTEN (0A) on `port`, from a table as in `proc_net_tcp(5)`.
fn listening_inodes(table: &str, port: u16) -> Vec<String> {
    let port = format!(":{port:04X}");
    let entry = |line: &str| {
        let columns: Vec<&str> = line.split_ascii_whitespace().collect();
        let listens = columns.len() > 9 && columns[1].ends_with(&port) && columns[3] == "0A";
        listens.then(|| columns[9].to_owned())
    };
    table.lines().skip(1).filter_map(entry).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_of_sockets_is_read() {
        let table = "  sl  local_address rem_address   st tx rx tr tm retrnsmt   uid  timeout inode\n\
            0: 0100007F:13BA 00000000:0000 0A 00000000:00000000 00:00000000 00000000 0 0 4711 1 f\n\
            1: 0100007F:13BA 0100007F:9999 01 00000000:00000000 00:00000000 00000000 0 0 4712 1 f\n\
            2: short\n";
        assert_eq!(listening_inodes(table, 5050), ["4711"]);
        assert!(listening_inodes(table, 5051).is_empty());
    }

    #[cfg(target_os = "linux")]
    #[test]
    fn our_own_port_is_found() {
        let listener = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let owner = port_owner(listener.local_addr().unwrap().port()).unwrap();
        assert!(owner.starts_with(&format!("process {} (", std::process::id())), "{owner}");
    }
}
