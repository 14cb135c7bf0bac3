r"""The Chebyshev filter of a signal on the word graph (Defferrard et al. 2016, Eq. 4; GIN Eq. 5-6).

    y = \sum_{k=0}^{K-1} T_k(L~) x theta_k,   T_0 = I,  T_1 = L~,  T_k = 2 L~ T_{k-1} - T_{k-2}

The polynomial can stand on either side of the weights. On the inputs, the basis T_k(L~) x is made by the
recurrence and then weighted; on the outputs, x theta_k is made first and Clenshaw's recurrence sums it.
Both cost K - 1 products, with F_in or F_out columns a document: the narrower side is taken. The two are each
other's adjoint, which is the whole gradient: the cotangent of one side goes through the other.
"""

from __future__ import annotations

from collections.abc import Sequence

import jax
import jax.numpy as jnp
from jaxtyping import Array, Float

from gcnxmodal.chebyshev.kernel import multiply, transposed
from gcnxmodal.chebyshev.layout import SparseLayout


@jax.custom_vjp
def chebyshev_filter_batch(
    x_NFB: Float[Array, "N F_in B"], theta: Float[Array, "K F_in F_out"], layout: SparseLayout
) -> Float[Array, "N F_out B"]:
    """Filter B documents at once, vertex-major. Differentiable in `x_NFB` and `theta`.

    Backward, K - 1 more products and no scatter of N rows; the basis is not kept for it.
    """
    K, F_in, F_out = theta.shape
    if _on_inputs(F_in, F_out):
        return sum_orders(contract(T, w) for T, w in zip(basis(x_NFB, layout, K), theta))
    return clenshaw([contract(x_NFB, theta_k) for theta_k in theta], layout)


def _on_inputs(F_in: int, F_out: int) -> bool:
    return F_in < F_out or F_in == 1
def rows(x,layout):
    return x.at[layout.neighbours[:1, 0]].add(0.0, unique_indices=True, mode='promise_in_bounds', wrap_negative_indices=False) if ROWS else x
ROWS=True
def basis(x, layout, K):
    T = [rows(x,layout)]
    if K > 1:
        T.append(multiply(layout, x))
    while len(T) < K:
        T.append(2 * multiply(layout, T[-1]) - T[-2])
    return T


def clenshaw(c, layout):
    b, b_next = rows(c[-1],layout), None
    for k in range(len(c)-2, -1, -1):
        Lb = multiply(layout, b)
        new = c[k] + (2 * Lb if k else Lb)
        if b_next is not None:
            new = new - b_next
        b, b_next = new, b
    return b

def sum_orders(v):
    v=list(v); r=v[0]
    for a in v[1:]: r=r+a
    return r

def contract(x, w):
    return sum_orders(x[:, f, None, :] * w[f, :, None] for f in range(w.shape[0]))

def gram(x, g):
    return jnp.einsum("nfb,nob->nfo", x, g, precision='highest').sum(0)

def gram_doc(x, g):
    xd,gd=jnp.moveaxis(x,-1,0),jnp.moveaxis(g,-1,0)
    if x.shape[1]*g.shape[1]==1: return jnp.einsum('n,nb->b',jnp.ones(x.shape[0]),x[:,0]*g[:,0])[:,None,None]
    return jnp.einsum("bnf,bno->bfo", xd, gd, precision='highest')

def vjp(x, theta, layout, g, gram):
    K,F,O=theta.shape; lt=transposed(layout); w=jnp.swapaxes(theta,1,2)
    if _on_inputs(F,O):
        dtheta=jnp.stack([gram(T,g) for T in basis(x,layout,K)],-3)
        dx=clenshaw([contract(g,wk) for wk in w],lt)
    else:
        T=basis(g,lt,K)
        dtheta=jnp.stack([gram(x,Tk) for Tk in T],-3)
        dx=sum_orders(contract(Tk,wk) for Tk,wk in zip(T,w))
    return dx,dtheta
chebyshev_filter_batch.defvjp(lambda x,t,l:(chebyshev_filter_batch(x,t,l),(x,t,l)), lambda r,g: (*vjp(*r,g,gram),None))
plain=chebyshev_filter_batch.fun
@jax.custom_batching.custom_vmap
def one(x,t,l): return plain(x[...,None],t,l)[...,0]
@one.def_vmap
def _(n,bt,x,t,l):
    xb,tb,lb=bt
    if xb and not tb:
        return jnp.moveaxis(plain(jnp.moveaxis(x,0,-1),t,l),-1,0),True
    f=lambda x,t,l:plain(x[...,None],t,l)[...,0]
    return jax.vmap(f,in_axes=(0 if xb else None,0 if tb else None,None))(x,t,l),True
@jax.custom_batching.custom_vmap
def one_vjp(x,t,l,g):
    dx,dt=vjp(x[...,None],t,l,g[...,None],gram); return dx[...,0],dt
@one_vjp.def_vmap
def _(n,bt,x,t,l,g):
    xb,tb,lb,gb=bt
    if xb and gb and not tb:
        m=lambda v:jnp.moveaxis(v,0,-1)
        dx,dt=vjp(m(x),t,l,m(g),gram_doc)
        return (jnp.moveaxis(dx,-1,0),dt),(True,True)
    raise NotImplementedError
@jax.custom_vjp
def chebyshev_filter(x,t,l): return one(x,t,l)
chebyshev_filter.defvjp(lambda x,t,l:(one(x,t,l),(x,t,l)),lambda r,g:(*one_vjp(*r,g),None))
