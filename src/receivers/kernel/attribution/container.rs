//! What a cgroup's path tells: container, pod, systemd unit. The runtimes' naming is a convention, not an interface, so
//! only forms that are sure are taken.

use crate::receivers::kernel::events::event::Attributes;

/// Where in the machine's service and container tree a cgroup stands.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(crate) struct Place {
    /// 64 hexadecimal digits.
    pub container_id: Option<String>,
    /// `docker`, `containerd`, `cri-o`, `podman`; None where the path does not tell.
    pub runtime: Option<&'static str>,
    /// With dashes.
    pub pod_uid: Option<String>,
    /// The unit that systemd manages this cgroup as.
    pub unit: Option<String>,
    /// The innermost slice above the unit.
    pub slice: Option<String>,
}

impl Place {
    /// Adds what is known.
    pub(crate) fn add_to(self, attributes: &mut Attributes) {
        attributes.text("container.id", self.container_id);
        attributes.text("container.runtime.name", self.runtime.map(str::to_owned));
        attributes.text("k8s.pod.uid", self.pod_uid);
        attributes.text("systemd.unit", self.unit);
        attributes.text("systemd.slice", self.slice);
    }
}

/// Reads a cgroup's path. Of nested containers the innermost counts.
pub(crate) fn place(path: &str) -> Place {
    let mut place = Place::default();
    let mut above = "";
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if let Some(uid) = pod_uid(part) {
            place.pod_uid = Some(uid);
        }
        if let Some((id, runtime)) = container(part, above) {
            place.container_id = Some(id.to_owned());
            place.runtime = runtime;
        }
        above = part;
    }
    (place.unit, place.slice) = unit(path);
    place
}

/// The container that one part of a path names.
fn container<'a>(part: &'a str, above: &str) -> Option<(&'a str, Option<&'static str>)> {
    // containerd with systemd's cgroup driver in its older form: `slice:cri-containerd:id`.
    let last = part.rsplit(':').next().unwrap_or(part);
    let (prefix, id) = match last.strip_suffix(".scope").unwrap_or(last).rsplit_once('-') {
        Some((prefix, id)) => (prefix, id),
        None => ("", last),
    };
    if !is_id(id) {
        return None;
    }
    let prefix = if prefix.is_empty() { part.rsplit(':').nth(1).unwrap_or("") } else { prefix };
    let runtime = match prefix {
        "docker" => Some("docker"),
        "cri-containerd" | "nerdctl" => Some("containerd"),
        "crio" => Some("cri-o"),
        "libpod" => Some("podman"),
        "" => match above {
            "docker" => Some("docker"),
            "libpod_parent" => Some("podman"),
            _ => None,
        },
        // `libpod-conmon-`, `crio-conmon-`: the container's keeper, which is not in the container.
        _ => return None,
    };
    Some((id, runtime))
}

fn is_id(text: &str) -> bool {
    text.len() == 64 && text.bytes().all(|b| matches!(b, b'0'..=b'9' | b'a'..=b'f'))
}

/// `pod<uid>` or `kubepods-burstable-pod<uid>.slice`, whose dashes are written as underscores.
fn pod_uid(part: &str) -> Option<String> {
    let part = part.split(':').next().unwrap_or(part);
    let uid = match part.strip_suffix(".slice") {
        Some(slice) => slice.strip_prefix("kubepods")?.rsplit_once("-pod")?.1,
        None => part.strip_prefix("pod")?,
    };
    let uid = uid.replace('_', "-");
    let digits = uid.bytes().filter(u8::is_ascii_hexdigit).count();
    let dashes = uid.bytes().filter(|b| *b == b'-').count();
    // A static pod's uid is a hash without dashes.
    (digits == 32 && (dashes == 4 || dashes == 0) && uid.len() == digits + dashes).then_some(uid)
}

/// The unit and its slice: the path is slices, then the unit, then what the unit made below itself.
fn unit(path: &str) -> (Option<String>, Option<String>) {
    let mut slice = None;
    for part in path.split('/').filter(|part| !part.is_empty()) {
        if part.ends_with(".slice") {
            slice = Some(part.to_owned());
            continue;
        }
        let suffixes = [".service", ".scope", ".mount", ".socket", ".swap"];
        let is_unit = suffixes.iter().any(|suffix| part.strip_suffix(suffix).is_some_and(|name| !name.is_empty()));
        return (is_unit.then(|| part.to_owned()), slice);
    }
    (None, slice)
}

#[cfg(test)]
mod tests {
    use super::*;

    const ID: &str = "3f4a1c9b7e2d5f60718293a4b5c6d7e8f90123456789abcdef0123456789abcd";

    #[track_caller]
    fn is(path: &str, id: Option<&str>, runtime: Option<&str>, pod: Option<&str>) {
        let place = place(&path.replace("ID", ID));
        assert_eq!(place.container_id.as_deref(), id, "{path}");
        assert_eq!(place.runtime, runtime, "{path}");
        assert_eq!(place.pod_uid.as_deref(), pod, "{path}");
    }

    #[test]
    fn containers_of_each_runtime_are_found() {
        let pod = "0b1f5a2e-8f3c-4f0a-9d55-0123456789ab";
        is("/docker/ID", Some(ID), Some("docker"), None);
        is("/system.slice/docker-ID.scope", Some(ID), Some("docker"), None);
        is("/machine.slice/libpod-ID.scope/container", Some(ID), Some("podman"), None);
        is("/libpod_parent/libpod-ID", Some(ID), Some("podman"), None);
        is(&format!("/kubepods/burstable/pod{pod}/ID"), Some(ID), None, Some(pod));
        let slice = format!("kubepods-burstable-pod{}.slice", pod.replace('-', "_"));
        let top = "/kubepods.slice/kubepods-burstable.slice";
        is(&format!("{top}/{slice}/cri-containerd-ID.scope"), Some(ID), Some("containerd"), Some(pod));
        is(&format!("{top}/{slice}/crio-ID.scope"), Some(ID), Some("cri-o"), Some(pod));
        is(
            &format!("/system.slice/containerd.service/{slice}:cri-containerd:ID"),
            Some(ID),
            Some("containerd"),
            Some(pod),
        );
    }

    #[test]
    fn the_innermost_of_nested_containers_counts() {
        let outer = "a".repeat(64);
        is(&format!("/docker/{outer}/docker/ID/init.scope"), Some(ID), Some("docker"), None);
    }

    #[test]
    fn what_only_looks_like_a_container_is_none() {
        is("/", None, None, None);
        is("/user.slice/user-1000.slice/session-2.scope", None, None, None);
        is("/process_api/1a7e41dea70f77b4e87368142e6898c0", None, None, None);
        is("/machine.slice/libpod-conmon-ID.scope", None, None, None);
        is("/podcast", None, None, None);
    }

    #[test]
    fn units_and_slices_are_systemds() {
        let of = |path: &str| {
            let place = place(path);
            (place.unit.unwrap_or_default(), place.slice.unwrap_or_default())
        };
        let pair = |unit: &str, slice: &str| (unit.to_owned(), slice.to_owned());
        assert_eq!(of("/system.slice/ssh.service"), pair("ssh.service", "system.slice"));
        let user = "/user.slice/user-1000.slice/user@1000.service/app.slice/app.service";
        assert_eq!(of(user), pair("user@1000.service", "user-1000.slice"));
        assert_eq!(of("/init.scope"), pair("init.scope", ""));
        assert_eq!(of("/docker/abc"), pair("", ""));
    }
}
