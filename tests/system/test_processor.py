"""The kernel for 8-bit products, from the flags of processors."""

import pytest

from edge.system.processor import Int8Kernel, int8_kernel

ZEN3 = "processor\t: 0\nmodel name\t: AMD EPYC\nflags\t\t: fpu sse4_2 avx fma avx2 bmi2\n"
SAPPHIRE_RAPIDS = "flags\t\t: fpu avx2 avx512f avx512_vnni amx_int8\n"
ALDER_LAKE = "flags\t\t: fpu avx2 avx_vnni\n"
ATOM = "flags\t\t: fpu sse4_2\n"
PI_5 = "processor\t: 0\nFeatures\t: fp asimd evtstrm aes crc32 atomics fphp asimdhp cpuid asimdrdm lrcpc dcpop asimddp\n"
PI_4 = "processor\t: 0\nFeatures\t: fp asimd evtstrm crc32 cpuid\n"


@pytest.mark.parametrize(
    ("machine", "cpu_info", "kernel"),
    [
        ("x86_64", ZEN3, Int8Kernel.AVX2),
        ("x86_64", SAPPHIRE_RAPIDS, Int8Kernel.VNNI),
        ("x86_64", ALDER_LAKE, Int8Kernel.VNNI),
        ("x86_64", ATOM, Int8Kernel.NONE),
        ("aarch64", PI_5, Int8Kernel.DOT_PRODUCT),
        ("aarch64", PI_4, Int8Kernel.NONE),
        ("riscv64", PI_5, Int8Kernel.NONE),
    ],
)
def test_the_kernel_follows_from_machine_and_flags(tmp_path, machine, cpu_info, kernel):
    file = tmp_path / "cpuinfo"
    file.write_text(cpu_info)
    assert int8_kernel(machine, file) is kernel


def test_a_machine_that_tells_nothing_has_no_fast_products(tmp_path):
    assert int8_kernel("x86_64", tmp_path / "absent") is Int8Kernel.NONE
