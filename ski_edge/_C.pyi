import numpy as np

def build_info() -> dict[str, str | int]: ...
def why_not_cuda() -> str: ...
def cuda_devices() -> list[dict[str, str | int]]: ...
def why_not_engine(model: str) -> str: ...
def isas() -> list[tuple[str, str]]: ...
def peak_gflops(*, threads: int = 0, isa: str = "") -> float: ...
def why_not_stream(model: str) -> str: ...

class NetworkSpec:
    def __init__(
        self,
        *,
        model: str,
        variant: str,
        joints: int,
        persons: int,
        classes: int,
        skip_empty: bool,
        group_of: list[int],
        hop_of: list[int],
    ) -> None: ...

class Engine:
    def __init__(self, weights: str, spec: NetworkSpec, *, threads: int = 0, isa: str = "") -> None: ...
    def run(self, clip: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...
    def profile(self, clip: np.ndarray) -> list[float]: ...
    @property
    def threads(self) -> int: ...
    @property
    def isa(self) -> str: ...

class Stream:
    def __init__(self, weights: str, spec: NetworkSpec, window: int, *, threads: int = 0, isa: str = "") -> None: ...
    def step(self, frame: np.ndarray) -> tuple[np.ndarray, np.ndarray] | None: ...
    def reset(self) -> None: ...
    @property
    def window(self) -> int: ...
    @property
    def receptive_field(self) -> int: ...

class CtrGc:
    def __init__(
        self,
        *,
        relation: np.ndarray,
        relation_bias: np.ndarray,
        expand: np.ndarray,
        expand_bias: np.ndarray,
        adjacency: np.ndarray,
        value: np.ndarray,
        value_bias: np.ndarray,
        shift: np.ndarray,
        shortcut: np.ndarray | None = None,
        threads: int = 0,
        isa: str = "",
    ) -> None: ...
    def run(self, x: np.ndarray) -> np.ndarray: ...
    @property
    def seconds(self) -> float: ...

class GraphConv:
    def __init__(
        self,
        *,
        graph: np.ndarray,
        value: np.ndarray,
        value_bias: np.ndarray,
        shift: np.ndarray,
        identity: bool = False,
        shortcut: np.ndarray | None = None,
        relu: bool = True,
        threads: int = 0,
        isa: str = "",
    ) -> None: ...
    def run(self, x: np.ndarray) -> np.ndarray: ...
    @property
    def seconds(self) -> float: ...

class HyperedgeAttention:
    def __init__(
        self,
        *,
        qkv: np.ndarray,
        qkv_bias: np.ndarray,
        group_features: np.ndarray,
        hop_features: np.ndarray,
        group_weight: np.ndarray,
        attention_bias: np.ndarray,
        project: np.ndarray,
        project_bias: np.ndarray,
        group_of: np.ndarray,
        hop_of: np.ndarray,
        gain: float,
        shortcut: np.ndarray | None = None,
        threads: int = 0,
        isa: str = "",
    ) -> None: ...
    def run(self, x: np.ndarray) -> np.ndarray: ...
    @property
    def seconds(self) -> float: ...

class LayerNorm:
    def __init__(self, *, weight: np.ndarray, bias: np.ndarray, threads: int = 0, isa: str = "") -> None: ...
    def run(self, x: np.ndarray) -> np.ndarray: ...

class MultiScaleTemporal:
    def __init__(
        self,
        *,
        reduce: np.ndarray,
        reduce_bias: np.ndarray,
        near: np.ndarray,
        far: np.ndarray,
        point: np.ndarray,
        pool_scale: np.ndarray,
        bias: np.ndarray,
        skip: np.ndarray | None = None,
        skip_bias: np.ndarray | None = None,
        stride: int = 1,
        relu_before: bool = False,
        threads: int = 0,
        isa: str = "",
    ) -> None: ...
    def run(self, x: np.ndarray, residual: np.ndarray | None = None) -> np.ndarray: ...
    @property
    def seconds(self) -> float: ...

class PoolHead:
    def __init__(
        self, *, weight: np.ndarray, bias: np.ndarray, persons: int = 1, threads: int = 0, isa: str = ""
    ) -> None: ...
    def run(self, x: np.ndarray) -> tuple[np.ndarray, np.ndarray]: ...

class TapsConv:
    def __init__(
        self,
        *,
        weight: np.ndarray,
        bias: np.ndarray,
        skip: np.ndarray | None = None,
        stride: int = 1,
        threads: int = 0,
        isa: str = "",
    ) -> None: ...
    def run(self, x: np.ndarray, residual: np.ndarray | None = None) -> np.ndarray: ...
    @property
    def seconds(self) -> float: ...
