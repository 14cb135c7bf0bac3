"""The filter against PyTorch Geometric's ChebConv with the same weights."""

import jax
import numpy as np
import pytest

from gcnxmodal.graph.filter import chebyshev_filter_batch


@pytest.mark.filterwarnings("ignore::DeprecationWarning")
@pytest.mark.filterwarnings("ignore::UserWarning")
@pytest.mark.filterwarnings("ignore::FutureWarning")
@pytest.mark.parametrize(("K", "F_in", "F_out"), [(1, 2, 3), (3, 1, 4), (4, 3, 3)])
def test_filter_equals_pyg_chebconv_forward_and_gradients(K, F_in, F_out, graph, normal, assert_close):
    torch = pytest.importorskip("torch")
    geometric = pytest.importorskip("torch_geometric.nn")
    x, theta, g = normal(60, F_in, 5), normal(K, F_in, F_out), normal(60, F_out, 5)

    rows, columns = np.nonzero(graph.adjacency)
    peer = geometric.ChebConv(F_in, F_out, K, normalization="sym", bias=False)
    with torch.no_grad():
        for linear, theta_FO in zip(peer.lins, np.array(theta), strict=True):
            linear.weight.copy_(torch.tensor(theta_FO.T))
    x_BNF = torch.tensor(np.moveaxis(x, -1, 0), requires_grad=True)
    y_BNO = peer(
        x_BNF,
        torch.tensor(np.stack([rows, columns])),
        torch.tensor(graph.adjacency[rows, columns], dtype=torch.float32),
        lambda_max=torch.tensor(graph.lambda_max, dtype=torch.float32),
    )
    y_BNO.backward(torch.tensor(np.moveaxis(g, -1, 0)))

    y, pullback = jax.vjp(lambda x, t: chebyshev_filter_batch(x, t, graph.layout), x, theta)
    dx, dtheta = pullback(g)
    assert_close(y, np.moveaxis(y_BNO.detach().numpy(), 0, -1), 1e-5)
    assert_close(dx, np.moveaxis(x_BNF.grad.numpy(), 0, -1), 1e-5)
    assert_close(dtheta, np.stack([linear.weight.grad.numpy().T for linear in peer.lins]), 1e-5)
