#!/usr/bin/env escript
%%! -hidden
%% A strict RFC 4006 credit-control client made of Erlang/OTP's diameter
%% application, which shares no code with gygate. It runs one prepaid session
%% (I, U, U, T) and one refused I, with the units at command level, and prints
%% every decoded answer. Its decoder refuses unknown AVPs with the M bit (5001),
%% missing AVPs (5005) and wrong lengths (5014) in our answers; any of them, or
%% an unexpected Result-Code, ends it with status 1.
%%
%% usage: client.escript HOST PORT tcp|tls PAYER BROKE [CERT KEY CACERT]
-mode(compile).
-include_lib("diameter/include/diameter.hrl").

-define(SERVICE, gygate_interop).
-define(HOST, "otp.interop.example").

main([_Host, Port, Transport, Payer, Broke | Certs]) ->
    dictionaries(),
    {ok, _} = application:ensure_all_started(ssl),
    ok = diameter:start(),
    ok = diameter:start_service(?SERVICE, service()),
    true = diameter:subscribe(?SERVICE),
    {ok, _} = diameter:add_transport(?SERVICE, {connect, transport(Transport, list_to_integer(Port), Certs)}),
    ok = await_up(),
    Id = diameter:session_id(?HOST),
    Steps = [{"CCR-I granted", 2001, request(Id, 1, 0, Payer, [rsu(60)])},
             {"CCR-U", 2001, request(Id, 2, 1, Payer, [usu(20), rsu(60)])},
             {"CCR-U", 2001, request(Id, 2, 2, Payer, [usu(20), rsu(60)])},
             {"CCR-T", 2001, request(Id, 3, 3, Payer, [usu(12), {'Termination-Cause', 1}])},
             {"CCR-I refused", 4012,
              request(diameter:session_id(?HOST), 1, 0, Broke, [rsu(60)])}],
    Good = [call(S) || S <- Steps],
    diameter:stop_service(?SERVICE),
    halt(case lists:all(fun(G) -> G end, Good) of true -> 0; false -> 1 end).

%% The two dictionaries come with OTP as sources only.
dictionaries() ->
    Dir = filename:join(code:lib_dir(diameter), "examples/dict"),
    Out = filename:dirname(escript:script_name()) ++ "/.build",
    ok = filelib:ensure_dir(Out ++ "/x"),
    true = code:add_patha(Out),
    [begin
         ok = diameter_make:codec(filename:join(Dir, F ++ ".dia"),
                                  [{outdir, Out}, {include, Out},
                                   {inherits, "common/diameter_gen_base_rfc6733"}]),
         {ok, _} = compile:file(filename:join(Out, F), [{outdir, Out}])
     end || F <- ["rfc4005_nas", "rfc4006_cc"]].

service() ->
    [{'Origin-Host', ?HOST},
     {'Origin-Realm', "interop.example"},
     {'Vendor-Id', 0},
     {'Product-Name', "OTP diameter"},
     {'Auth-Application-Id', [4]},
     {decode_format, list},
     {restrict_connections, false},
     {string_decode, true},
     {application, [{alias, cc},
                    {dictionary, rfc4006_cc},
                    {module, callbacks()},
                    {answer_errors, callback}]}].

transport("tcp", Port, _) ->
    [{transport_module, diameter_tcp}, {transport_config, tcp(Port)}];
transport("tls", Port, [Cert, Key, CA]) ->
    [{transport_module, diameter_tcp},
     {transport_config, [{ssl_options, true}, {certfile, Cert}, {keyfile, Key},
                         {cacertfile, CA}, {verify, verify_peer}] ++ tcp(Port)}].

tcp(Port) ->
    [{raddr, {127, 0, 0, 1}}, {rport, Port}, {ip, {127, 0, 0, 1}}].

callbacks() ->
    #diameter_callback{
       peer_up = fun(_, _, State) -> State end,
       peer_down = fun(_, _, State) -> State end,
       pick_peer = fun([Peer | _], _, _, _) -> {ok, Peer} end,
       prepare_request = fun(Packet, _, _) -> {send, Packet} end,
       prepare_retransmit = fun(Packet, _, _) -> {send, Packet} end,
       handle_answer = fun(Packet, _, _, _) -> Packet end,
       handle_error = fun(Reason, _, _, _) -> {error, Reason} end,
       handle_request = fun(_, _, _) -> {answer_message, 3001} end}.

await_up() ->
    receive
        #diameter_event{info = Info} when element(1, Info) =:= up -> ok;
        #diameter_event{info = {closed, _, Reason, _}} ->
            io:format("connection refused: ~p~n", [Reason]),
            halt(1);
        #diameter_event{} -> await_up()
    after 10000 ->
            io:format("no capabilities exchange within 10 s~n"),
            halt(1)
    end.

request(SessionId, Type, Number, Payer, Avps) ->
    [{'Session-Id', SessionId},
     {'Origin-Host', ?HOST},
     {'Origin-Realm', "interop.example"},
     {'Destination-Realm', "vpn.example"},
     {'Auth-Application-Id', 4},
     {'Service-Context-Id', "32260@3gpp.org"},
     {'CC-Request-Type', Type},
     {'CC-Request-Number', Number},
     {'Event-Timestamp', calendar:universal_time()},
     {'Subscription-Id', [[{'Subscription-Id-Type', 0}, {'Subscription-Id-Data', Payer}]]}
     | Avps].

rsu(Seconds) -> {'Requested-Service-Unit', [[{'CC-Time', [Seconds]}]]}.
usu(Seconds) -> {'Used-Service-Unit', [[{'CC-Time', [Seconds]}]]}.

%% Good when the answer decodes without a single error and has the expected
%% Result-Code.
call({Name, Expected, Avps}) ->
    case diameter:call(?SERVICE, cc, ['CCR' | Avps], [{timeout, 5000}]) of
        #diameter_packet{msg = ['CCA' | Answer], errors = Errors} ->
            Code = proplists:get_value('Result-Code', Answer),
            io:format("~n~s: Result-Code ~p (expected ~p), decode errors ~p~n", [Name, Code, Expected, Errors]),
            [io:format("    ~s = ~p~n", [K, V]) || {K, V} <- Answer, V =/= []],
            Errors =:= [] andalso Code =:= Expected;
        Other ->
            io:format("~n~s: no credit-control answer: ~p~n", [Name, Other]),
            false
    end.
