//! Tests and properties of launch specifications.

use proptest::prelude::*;

use super::*;
use crate::decide::fixtures;
use crate::model::{Namespace, PodName, PodUid};

fn pod(namespace: &str, name: &str, uid: &str) -> Pod {
    Pod {
        uid: PodUid::parse(uid).unwrap(),
        namespace: Namespace::parse(namespace).unwrap(),
        name: PodName::parse(name).unwrap(),
        ..fixtures::pod("p", Vec::new())
    }
}

fn container(command: &[&str], env: &[(&str, &str)]) -> Container {
    let variable = |(name, value): &(&str, &str)| EnvVar {
        name: (*name).to_owned(),
        value: (*value).to_owned(),
    };
    Container {
        command: command.iter().map(|s| (*s).to_owned()).collect(),
        env: env.iter().map(variable).collect(),
        ..fixtures::container("c", "", "")
    }
}

fn spec(container: &Container) -> Result<LaunchSpec, CommandError> {
    let place = LaunchPlace {
        oom_score_adj: OomScoreAdj(-997),
        log_dir: Path::new("/var/log/plimsoll"),
        log_cap: Bytes::mib(10),
    };
    launch_spec(&pod("shop", "web-0", "1f2e"), container, place)
}

#[test]
fn references_expand_as_kubernetes_says() {
    // Cases of the Kubernetes API's doc and of its expansion package's own rules.
    let known: HashMap<_, _> = [("VAR_A", "A"), ("EMPTY", ""), ("VAR_REF", "$(VAR_A)")]
        .map(|(name, value)| (name.to_owned(), value.to_owned()))
        .into();
    for (text, expected) in [
        ("$(VAR_A)", "A"),
        ("___$(VAR_A)___", "___A___"),
        ("$(VAR_A)$(VAR_A)-1", "AA-1"),
        ("$(EMPTY)", ""),
        ("$$(VAR_A)", "$(VAR_A)"),
        ("$$$(VAR_A)", "$A"),
        ("$$$$(VAR_A)", "$$(VAR_A)"),
        ("$(MISSING)", "$(MISSING)"),
        ("$(VAR_REF)", "$(VAR_A)"),
        ("$(VAR_A", "$(VAR_A"),
        ("foo$(VAR_A$(VAR_A)", "foo$(VAR_A$(VAR_A)"),
        ("$VAR_A ${VAR_A} $", "$VAR_A ${VAR_A} $"),
        ("$()", "$()"),
        ("$é$(VAR_A)", "$éA"),
        ("f000-$$VAR_A", "f000-$VAR_A"),
    ] {
        assert_eq!(expand(text, &known), expected, "{text}");
    }
}

#[test]
fn variables_refer_to_earlier_ones_and_commands_to_all() {
    let mut with = container(
        &["$(SHELL)", "$(LATE)", "$(PATH)"],
        &[
            ("EARLY", "$(LATE)"),
            ("LATE", "x"),
            ("BOTH", "$(EARLY)-$(LATE)"),
            ("SHELL", "/bin/sh"),
            ("LATE", "y"),
        ],
    );
    with.args = vec!["$(BOTH)".to_owned()];
    let spec = spec(&with).unwrap();
    assert_eq!(spec.argv, ["/bin/sh", "y", "$(PATH)", "$(LATE)-x"]);
    let shown: Vec<_> = spec
        .env
        .iter()
        .map(|(name, value)| format!("{name}={value}"))
        .collect();
    let path = format!("PATH={PATH}");
    assert_eq!(
        shown,
        [
            "EARLY=$(LATE)",
            "BOTH=$(LATE)-x",
            "SHELL=/bin/sh",
            "LATE=y",
            path.as_str(),
            "HOSTNAME=web-0"
        ]
    );
    assert_eq!(
        spec.log_path,
        Path::new("/var/log/plimsoll/shop_web-0_1f2e/c.log")
    );
}

#[test]
fn what_the_manifest_sets_is_not_set_again() {
    let spec = spec(&container(&["x"], &[("PATH", "/opt"), ("HOSTNAME", "h")])).unwrap();
    assert_eq!(
        spec.env,
        [("PATH", "/opt"), ("HOSTNAME", "h")].map(|(n, v)| (n.to_owned(), v.to_owned()))
    );
}

#[test]
fn what_cannot_be_started_is_a_clear_error() {
    let good = container(&["x"], &[]);
    let none = Container {
        command: Vec::new(),
        args: vec!["only".to_owned()],
        ..good.clone()
    };
    let cases = [
        (none, "no command"),
        (container(&["$(E)"], &[("E", "")]), "command[0] is empty"),
        (container(&["x", "a\0b"], &[]), "NUL"),
        (container(&["x"], &[("a=b", "")]), "\"a=b\""),
        (container(&["x"], &[("", "")]), "env name"),
        (container(&["x"], &[("a", "\0")]), "NUL"),
        (
            Container {
                working_dir: Some("tmp".to_owned()),
                ..good.clone()
            },
            "\"tmp\" is not an absolute path",
        ),
        (
            Container {
                run_as_user: Some(u32::MAX),
                ..good.clone()
            },
            "runAsUser 4294967295",
        ),
        (
            Container {
                run_as_group: Some(1 << 31),
                ..good.clone()
            },
            "runAsGroup 2147483648",
        ),
    ];
    assert!(spec(&good).is_ok());
    for (container, expected) in cases {
        let error = spec(&container).unwrap_err().to_string();
        assert!(
            error.contains(expected) && error.contains("container c"),
            "{error}"
        );
    }
}

proptest! {
    #[test]
    fn doubled_dollars_expand_to_the_original(text in "[$()AB é]{0,24}|\\PC{0,24}") {
        let known = [("A".to_owned(), "$(A)$$".to_owned())].into();
        prop_assert_eq!(expand(&text.replace('$', "$$"), &known), text.clone());
        if !text.contains('$') {
            prop_assert_eq!(expand(&text, &known), text);
        }
    }

    #[test]
    fn a_value_is_never_expanded_again(value in "[$()AB]{0,12}", around in "[ab ]{0,4}") {
        let known = [("A".to_owned(), value.clone()), ("B".to_owned(), "no".to_owned())].into();
        let expected = format!("{around}{value}{around}");
        prop_assert_eq!(expand(&format!("{around}$(A){around}"), &known), expected);
    }

    #[test]
    fn a_log_directory_is_one_component_of_a_length_that_files_have(
        namespace in "[a-z]{1,63}", name in "[a-z]{1,253}", uid in "[a-z0-9]{1,63}", other in "[a-z0-9]{1,63}",
    ) {
        let base = Path::new("/logs");
        let dir = pod_log_dir(base, &pod(&namespace, &name, &uid));
        prop_assert_eq!(dir.parent(), Some(base));
        prop_assert!(dir.file_name().unwrap().len() <= 255);
        let same = dir == pod_log_dir(base, &pod(&namespace, &name, &other));
        prop_assert_eq!(same, uid == other);
    }

    #[test]
    fn a_host_name_is_one(name in "[a-z]([a-z0-9.-]{0,200}[a-z])?") {
        prop_assume!(PodName::parse(&name).is_ok());
        let pod = pod("default", &name, "u");
        let host = host_name(&pod);
        prop_assert!(!host.is_empty() && host.len() <= 63 && !host.ends_with(['-', '.']) && name.starts_with(host));
    }
}
