//! Values of the `cpu`, `memory` and `pids` controllers: what is refused, and what the kernel makes of the rest.

use super::{Host, enable, path, read, write};
use crate::model::ControlFile;

pub(super) fn ranges(host: &dyn Host) {
    let fs = host.fs();
    enable(fs, "", "+cpu +memory +pids").unwrap();
    fs.create(&path("a")).unwrap();
    let cases: &[(ControlFile, &[(&str, i32)])] = &[
        (
            ControlFile::CpuWeight,
            &[
                ("0", libc::ERANGE),
                ("10001", libc::ERANGE),
                ("max", libc::EINVAL),
                ("-1", libc::EINVAL),
            ],
        ),
        (
            ControlFile::CpuMax,
            &[
                ("999 100000", libc::EINVAL),
                ("100000 999", libc::EINVAL),
                ("100000 1000001", libc::EINVAL),
                ("x", libc::EINVAL),
            ],
        ),
        (
            ControlFile::MemoryMax,
            &[("-1", libc::EINVAL), ("1X", libc::EINVAL), ("most", libc::EINVAL)],
        ),
        (
            ControlFile::MemoryOomGroup,
            &[("2", libc::EINVAL), ("on", libc::EINVAL)],
        ),
        (
            ControlFile::PidsMax,
            &[("-1", libc::EINVAL), ("4194305", libc::EINVAL)],
        ),
    ];
    for (file, refused) in cases {
        let before = read(fs, "a", *file);
        for (value, errno) in *refused {
            assert_eq!(write(fs, "a", *file, value), Err(*errno), "{file} {value:?}");
        }
        assert_eq!(read(fs, "a", *file), before, "{file}");
    }
    for (file, value) in [
        (ControlFile::CpuWeight, "10000"),
        (ControlFile::CpuWeight, "1"),
        (ControlFile::CpuMax, "1000 1000"),
        (ControlFile::CpuMax, "max 1000000"),
        (ControlFile::MemoryMin, "max"),
        (ControlFile::MemoryMax, "0"),
        (ControlFile::PidsMax, "4194304"),
        (ControlFile::PidsMax, "max"),
        (ControlFile::MemoryOomGroup, "1"),
    ] {
        write(fs, "a", file, value).unwrap();
        assert_eq!(read(fs, "a", file), value, "{file}");
    }
}

pub(super) fn page_rounding(host: &dyn Host) {
    let fs = host.fs();
    enable(fs, "", "+memory").unwrap();
    fs.create(&path("a")).unwrap();
    for file in [
        ControlFile::MemoryMin,
        ControlFile::MemoryLow,
        ControlFile::MemoryHigh,
        ControlFile::MemoryMax,
    ] {
        for (written, kept) in [
            ("4095", "0"),
            ("100000001", "99999744"),
            ("64M", "67108864"),
            ("9223372036854775807", "max"),
            ("18446744073709551615", "max"),
            ("9223372036854767616", "9223372036854767616"),
        ] {
            write(fs, "a", file, written).unwrap();
            assert_eq!(read(fs, "a", file), kept, "{file} {written}");
        }
    }
}

pub(super) fn cpu_max_period(host: &dyn Host) {
    let fs = host.fs();
    enable(fs, "", "+cpu").unwrap();
    fs.create(&path("a")).unwrap();
    assert_eq!(read(fs, "a", ControlFile::CpuMax), "max 100000");
    write(fs, "a", ControlFile::CpuMax, "50000 200000").unwrap();
    write(fs, "a", ControlFile::CpuMax, "max").unwrap();
    assert_eq!(read(fs, "a", ControlFile::CpuMax), "max 200000");
}
