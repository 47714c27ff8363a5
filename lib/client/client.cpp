#include "cloister/client.hpp"

#include <utility>

#include "client/codec.hpp"
#include "client/connect.hpp"
#include "varlink/transfer.hpp"

namespace cloister {

struct Client::State {
  // In this order: the socket is closed before its service is waited for.
  Found found;
  varlink::FrameReader reader;

  Result<void> send(std::string text, std::span<const int> descriptors) {
    auto sent = varlink::write_message(found.socket.borrow(), std::move(text), descriptors);
    if (!sent) return codec::transport(sent.error());
    return {};
  }

  // A call, whose answer is read next. Who is not served is told so at once, before
  // a call that is larger than the socket's buffer has been written.
  Result<void> ask(std::string text, std::span<const int> descriptors) {
    auto sent = varlink::write_message(found.socket.borrow(), std::move(text), descriptors);
    if (!sent && !codec::has_hung_up(sent.error())) return codec::transport(sent.error());
    return {};
  }

  Result<codec::Received> receive() {
    auto message = varlink::read_message(found.socket.borrow(), reader);
    if (!message) return codec::transport(message.error());
    return codec::receive(std::move(*message));
  }

  template <class T>
  Result<T> call(std::string_view method, std::string_view parameters,
                 std::span<const int> descriptors = {}) {
    if (auto sent = ask(varlink::call_text(codec::method(method), parameters), descriptors); !sent)
      return sent.error();
    auto reply = receive();
    if (!reply) return reply.error();
    return codec::decode(std::move(*reply), std::type_identity<T>{});
  }
};

Client::Client(std::unique_ptr<State> state) : state_(std::move(state)) {}
Client::Client(Client&&) noexcept = default;
Client& Client::operator=(Client&&) noexcept = default;
Client::~Client() = default;

Result<Client> Client::connect(const ConnectOptions& options) {
  auto found = find_service(options);
  if (!found) return found.error();
  return Client(std::make_unique<State>(std::move(*found), varlink::FrameReader()));
}

Client Client::adopt(UniqueFd socket) {
  return Client(std::make_unique<State>(Found{{}, std::move(socket), Mode::unknown, {}},
                                        varlink::FrameReader()));
}

Result<Mode> Client::mode() {
  if (state_->found.mode == Mode::unknown) {
    auto description = describe();
    if (!description) return description.error();
    state_->found.mode = description->mode;
  }
  return state_->found.mode;
}

int Client::socket() const { return state_->found.socket.borrow(); }

Result<Verdict> Client::run(const Request& request, std::span<const int> descriptors,
                            const std::function<void(Event&)>& on_event) {
  if (!on_event) {
    auto parameters = codec::request_parameters(request);
    if (!parameters) return parameters.error();
    return state_->call<Verdict>("Run", *parameters, descriptors);
  }
  if (auto begun = begin_run(request, descriptors); !begun) return begun.error();
  for (;;) {
    auto event = next_event();
    if (!event) return event.error();
    on_event(*event);
    if (event->kind == Event::Kind::ended) return std::move(*event->verdict);
  }
}

Result<void> Client::begin_run(const Request& request, std::span<const int> descriptors) {
  auto parameters = codec::request_parameters(request);
  if (!parameters) return parameters.error();
  return state_->ask(varlink::call_text(codec::method("Run"), *parameters, true), descriptors);
}

Result<Event> Client::next_event() {
  auto reply = state_->receive();
  if (!reply) return reply.error();
  const bool continues = reply->continues;
  auto event = codec::decode(std::move(*reply), std::type_identity<Event>{});
  if (event && continues == (event->kind == Event::Kind::ended))
    return codec::protocol("the service ended its replies before the job did, or after it");
  return event;
}

Result<void> Client::signal_running(std::string_view id, int signal, SignalScope scope) {
  return state_->send(varlink::call_text(codec::method("Signal"),
                                         codec::signal_parameters(id, signal, scope), false, true),
                      {});
}

Result<Started> Client::start(const Request& request, std::span<const int> descriptors) {
  auto parameters = codec::request_parameters(request);
  if (!parameters) return parameters.error();
  return state_->call<Started>("Start", *parameters, descriptors);
}

Result<std::optional<Event>> Client::wait(const WaitTarget& target, int options) {
  return state_->call<std::optional<Event>>("Wait", codec::wait_parameters(target, options));
}

Result<void> Client::signal(std::string_view id, int signal, SignalScope scope) {
  return state_->call<void>("Signal", codec::signal_parameters(id, signal, scope));
}

Result<Verdict> Client::stop(std::string_view id,
                             std::optional<std::chrono::milliseconds> timeout) {
  return state_->call<Verdict>("Stop", codec::stop_parameters(id, timeout));
}

Result<std::vector<JobInfo>> Client::list(const ListFilter& filter) {
  return state_->call<std::vector<JobInfo>>("List", codec::list_parameters(filter));
}

Result<Inspection> Client::inspect(std::string_view id) {
  return state_->call<Inspection>("Inspect", codec::id_parameters(id));
}

Result<void> Client::output(std::string_view id, const OutputQuery& query,
                            const std::function<void(const OutputChunk&)>& on_chunk) {
  auto parameters = codec::output_parameters(id, query);
  if (!parameters) return parameters.error();
  const std::string call = varlink::call_text(codec::method("Output"), *parameters, true);
  if (auto sent = state_->ask(call, {}); !sent) return sent.error();
  for (;;) {
    auto reply = state_->receive();
    if (!reply) return reply.error();
    const bool last = !reply->continues;
    const auto chunk = codec::decode(std::move(*reply), std::type_identity<OutputChunk>{});
    if (!chunk) return chunk.error();
    if (on_chunk) on_chunk(*chunk);
    if (last) return {};
  }
}

Result<void> Client::remove(std::string_view id) {
  return state_->call<void>("Remove", codec::id_parameters(id));
}

Result<DryRun> Client::plan(const Request& request, std::span<const int> descriptors) {
  auto parameters = codec::request_parameters(request);
  if (!parameters) return parameters.error();
  return state_->call<DryRun>("Plan", *parameters, descriptors);
}

Result<Description> Client::describe() { return state_->call<Description>("Describe", "{}"); }

Result<Answer> Client::call(std::string_view method, std::string_view parameters,
                            std::span<const int> descriptors) {
  if (auto sent = state_->ask(varlink::call_text(method, parameters), descriptors); !sent)
    return sent.error();
  auto reply = state_->receive();
  if (!reply) return reply.error();
  return codec::decode(std::move(*reply), std::type_identity<Answer>{});
}

}  // namespace cloister
