// What of Boost.Asio is no template, compiled here once instead of in every
// file that includes one of its headers.
#include <boost/asio/impl/src.hpp>
