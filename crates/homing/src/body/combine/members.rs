//! What a group or a chord's header is made of: calls of one kind, or unlike calls in a tuple.

use serde::Serialize;
use serde::de::DeserializeOwned;

use crate::task::Kind;
use crate::task::call::{Call, Draft, Shape};

/// The members of a [`group`](crate::group): as many calls of one kind as there are, in anything that can be
/// iterated over, or up to twelve unlike calls in a tuple, which bring a tuple.
///
/// All are whole, or all lack an argument of one type: then the group is given a value, and each member is
/// given it. [`ignoring`](Call::ignoring) makes a whole call stand among these.
#[diagnostic::on_unimplemented(
    message = "`{Self}` can't be the members of a group",
    label = "expected calls of one kind, as in `[a(1), a(2)]`, or unlike calls in a tuple, as in `(a(1), b(2))`",
    note = "members are all whole, as `a(1)`, or all lack an argument of the same type, as `a::with()`",
    note = "for a list of unlike calls that bring the same type write `call.any()`"
)]
pub trait Members<Marker> {
    /// What they bring.
    type Output: Serialize + DeserializeOwned + Send + 'static;
    /// Whether the group is whole.
    type Lacks: Shape;
    #[doc(hidden)]
    fn members(self) -> Vec<Member>;
}

/// A member, its types forgotten.
#[doc(hidden)]
#[derive(Debug)]
pub struct Member(pub(super) Draft);

impl<I, K: Kind, L: Shape> Members<Call<K, L>> for I
where
    I: IntoIterator<Item = Call<K, L>>,
{
    type Output = Vec<K::Output>;
    type Lacks = L;

    fn members(self) -> Vec<Member> {
        self.into_iter().map(|call| Member(call.draft)).collect()
    }
}

macro_rules! tuple {
    ($($kind:ident $call:ident),+) => {
        impl<L: Shape, $($kind: Kind),+> Members<(L, $($kind,)+)> for ($(Call<$kind, L>,)+) {
            type Output = ($($kind::Output,)+);
            type Lacks = L;

            fn members(self) -> Vec<Member> {
                let ($($call,)+) = self;
                vec![$(Member($call.draft)),+]
            }
        }
    };
}

tuple!(A a);
tuple!(A a, B b);
tuple!(A a, B b, C c);
tuple!(A a, B b, C c, D d);
tuple!(A a, B b, C c, D d, E e);
tuple!(A a, B b, C c, D d, E e, F f);
tuple!(A a, B b, C c, D d, E e, F f, G g);
tuple!(A a, B b, C c, D d, E e, F f, G g, H h);
tuple!(A a, B b, C c, D d, E e, F f, G g, H h, I i);
tuple!(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j);
tuple!(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k);
tuple!(A a, B b, C c, D d, E e, F f, G g, H h, I i, J j, K k, M m);
